//! Replaying a step of a run, and resuming runs of an older version.

use super::same::assert_same;
use super::world::{World, tiny};
use esrl_rlhf::ReplayConfig;
use serde_json::Value;
use std::fs;

fn replay(world: &World, run: &str, step: u64, rows: &[usize]) -> anyhow::Result<String> {
    esrl_rlhf::replay(&ReplayConfig {
        base: None,
        run: world.path(run),
        step,
        rows: rows.to_vec(),
        html: Some(world.path("page.html")),
        force: true,
    })
}

/// The numbers of a table's column.
fn column(text: &str, name: &str) -> Vec<f64> {
    let mut lines = text.lines();
    let head = lines
        .by_ref()
        .find(|line| line.contains(" token "))
        .unwrap();
    let from_end = head
        .split_whitespace()
        .rev()
        .position(|word| word == name)
        .unwrap();
    lines
        .take_while(|line| !line.is_empty())
        .map(|line| {
            line.split_whitespace()
                .rev()
                .nth(from_end)
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect()
}

#[test]
fn a_replayed_step_equals_the_recorded_one() {
    let world = World::with_reward();
    let sets = "algorithm.name=ppo algorithm.kl_coef=0.2 algorithm.whiten_advantages=false algorithm.lam=1.0 algorithm.gamma=1.0 train.save_every=1 train.keep_checkpoints=9";
    world.rl("run", sets).unwrap();
    let before = world.content("run");
    let text = replay(&world, "run", 4, &[1]).unwrap();
    assert!(
        text.contains(" metrics equal those that the run recorded"),
        "{text}"
    );
    assert_eq!(world.content("run"), before);
    // the rows are those of the samples written then
    let sample = fs::read_to_string(world.path("run/samples/step-000004.md")).unwrap();
    let prompt = text.split('"').nth(1).unwrap();
    assert!(sample.contains(prompt), "{prompt} in {sample}");
    // with λ = γ = 1 what a token returns is the sum of the rewards from it on, and the advantage
    // is that less the value
    let (reward, value) = (column(&text, "reward"), column(&text, "value"));
    let (advantage, back) = (column(&text, "advantage"), column(&text, "return"));
    for t in 0..reward.len() {
        let sum: f64 = reward[t..].iter().sum();
        assert!((back[t] - sum).abs() < 2e-3, "{t}: {} and {sum}", back[t]);
        assert!((advantage[t] - (sum - value[t])).abs() < 2e-3, "{t}");
    }
    let (kl, logp, logp_ref) = (
        column(&text, "kl"),
        column(&text, "logp"),
        column(&text, "logp_ref"),
    );
    for t in 0..kl.len() {
        assert!((kl[t] - (logp[t] - logp_ref[t])).abs() < 2e-4);
        let last = t + 1 == kl.len();
        assert!(
            last || (reward[t] + 0.2 * kl[t]).abs() < 2e-4,
            "no reward but the KL penalty before the end"
        );
    }
    // the updates moved the policy
    assert!(
        column(&text, "ratio")
            .iter()
            .any(|ratio| (ratio - 1.0).abs() > 1e-3)
    );
    let page = fs::read_to_string(world.path("page.html")).unwrap();
    assert!(
        page.contains("advantage") && !page.contains("{{") && !page.contains("http"),
        "{page}"
    );

    // damaged checkpoints are passed over, to the one before or to the start
    for (damaged, whole) in [(vec![3], Some(2)), (vec![2, 1], None)] {
        for step in &damaged {
            let file = format!("run/checkpoints/step-{step:06}/params.safetensors");
            fs::write(world.path(&file), "x").unwrap();
        }
        let before = world.content("run");
        let again = replay(&world, "run", 4, &[0]).unwrap();
        assert!(
            again.contains(" metrics equal those that the run recorded"),
            "{again}"
        );
        assert_eq!(world.content("run"), before);
        let (found, _) = run::newest_intact(&world.path("run"), 3).unwrap();
        assert_eq!(found.map(|found| found.step), whole);
    }

    // a step whose checkpoint was deleted is reached from the start
    world
        .rl("pruned", &format!("{sets} train.keep_checkpoints=1"))
        .unwrap();
    let again = replay(&world, "pruned", 3, &[0]).unwrap();
    assert!(
        again.contains(" metrics equal those that the run recorded"),
        "{again}"
    );
}

/// Each step is computed under the settings that it was taken under: the learning rate follows the
/// length that the run had then.
#[test]
fn steps_before_a_run_was_lengthened_replay_under_its_first_length() {
    let world = World::with_reward();
    let sets = "algorithm.name=ppo train.policy.schedule=linear train.critic.schedule=linear \
                train.save_every=1";
    let equal = " metrics equal those that the run recorded";
    for (run, kept) in [("all", 9), ("last", 1)] {
        let sets = format!("{sets} train.keep_checkpoints={kept}");
        world.rl(run, &format!("{sets} train.steps=2")).unwrap();
        world
            .rl(run, &format!("resume {sets} train.steps=4"))
            .unwrap();
        world
            .rl(run, &format!("resume {sets} train.steps=5"))
            .unwrap();
        let saved = run::open_saved_run(&world.path(run)).unwrap().unwrap();
        for (step, steps) in [(1, 2), (2, 2), (3, 4), (4, 4), (5, 5)] {
            let at = saved.settings_at(step).unwrap();
            assert!(at.is_certain);
            assert_eq!(at.settings["train"]["steps"].as_integer(), Some(steps));
            let text = replay(&world, run, step, &[0]).unwrap();
            assert!(text.contains(equal), "{run}, step {step}: {text}");
        }
    }
    // Earlier versions did not record what a resume changed.
    let mut info = world.info("all");
    for entry in info["resumed"].as_array_mut().unwrap() {
        entry
            .as_object_mut()
            .unwrap()
            .remove("settings_before")
            .unwrap();
    }
    info.as_object_mut().unwrap().remove("sha256").unwrap();
    fs::write(world.path("all/run.json"), info.to_string()).unwrap();
    let text = replay(&world, "all", 2, &[0]).unwrap();
    let expected = "the metrics are not compared: the learning rate of this step is 8.00e-3 by the \
                    settings that the run has now, and was 5.00e-3: a resume gave the run another \
                    length, under a version that did not record the length before\n";
    assert!(
        text.ends_with(&format!(
            "{expected}every token: {}\n",
            world.text("page.html")
        )),
        "{text}"
    );
    let text = replay(&world, "all", 5, &[0]).unwrap();
    assert!(text.contains(equal), "{text}");
}

/// The first step of a DPO run of 0.1.0, whose scores are all equal.
#[test]
fn an_old_dpo_run_says_why_its_first_step_differs() {
    let world = World::with_reward();
    let sets = format!("algorithm.name=dpo data.path={}", tiny("comparisons.json"));
    world.rl("old", &sets).unwrap();
    world.forget_sums("old");
    let mut info = world.info("old");
    info.as_object_mut().unwrap().remove("rules").unwrap();
    fs::write(world.path("old/run.json"), info.to_string()).unwrap();
    // with the gradient of that version, as it wrote its rows
    let rows = run::read_metrics(&world.path("old")).unwrap();
    let lines = rows.iter().map(|row| {
        let mut line = serde_json::json!(row.metrics);
        line["step"] = row.step.into();
        line["secs"] = row.secs.into();
        line["policy/grad_norm"] = 0.5.into();
        format!("{line}\n")
    });
    fs::write(world.path("old/metrics.jsonl"), lines.collect::<String>()).unwrap();
    fs::remove_file(world.path("old/timings.jsonl")).unwrap();
    let text = replay(&world, "old", 1, &[0]).unwrap();
    let expected = "(the run began under version 0.1.0, whose gradient was another where the scores \
                    of a pair are equal, as all are in the first step)";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn every_feed_replays() {
    let world = World::with_reward();
    let (rows, pairs) = (tiny("demonstrations.json"), tiny("comparisons.json"));
    for (name, data) in [
        ("esrl", String::new()),
        ("wbc", format!("data.path={rows}")),
        ("gold_s", format!("data.path={rows}")),
        ("dpo", format!("data.path={pairs}")),
    ] {
        world
            .rl(name, &format!("algorithm.name={name} {data}"))
            .unwrap();
        let text = replay(&world, name, 3, &[0]).unwrap();
        assert!(
            text.contains(" metrics equal those that the run recorded"),
            "{name}: {text}"
        );
    }
}

#[test]
fn a_page_is_not_replaced_without_force() {
    let world = World::with_reward();
    world.rl("run", "algorithm.name=rloo").unwrap();
    fs::write(world.path("page.html"), "mine").unwrap();
    let config = ReplayConfig {
        base: None,
        run: world.path("run"),
        step: 1,
        rows: vec![0],
        html: Some(world.path("page.html")),
        force: false,
    };
    let error = esrl_rlhf::replay(&config).unwrap_err().to_string();
    assert!(error.contains("page.html exists"), "{error}");
    assert_eq!(fs::read_to_string(world.path("page.html")).unwrap(), "mine");
}

/// In a process of its own: the signal stays with it.
#[test]
fn a_replay_stops_at_a_signal() {
    const CHILD: &str = "REPLAY_TEST_SIGNAL_CHILD";
    if std::env::var(CHILD).is_ok() {
        let world = World::with_reward();
        world.rl("run", "algorithm.name=rloo").unwrap();
        let pid = std::process::id().to_string();
        let mut kill = std::process::Command::new("kill");
        kill.args(["-TERM", &pid]).status().unwrap();
        println!("\n{}", replay(&world, "run", 4, &[0]).unwrap_err());
        std::process::exit(0);
    }
    let output = crate::common::again_in_a_child([(CHILD, "1")]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.lines().any(|line| line == "stopped before step 4"),
        "{text}"
    );
}

#[test]
fn a_step_that_cannot_be_replayed_is_an_error() {
    let world = World::with_reward();
    world.rl("run", "algorithm.name=ppo").unwrap();
    for (run, step, rows, words) in [
        ("none", 1, 0, "is not a run directory"),
        ("sft", 1, 0, "is a run of sft, not of esrl-rlhf"),
        ("run", 0, 0, "--step 0: the first step is 1"),
        ("run", 5, 0, "has 4 steps, so there is no step 5"),
        ("run", 2, 9, "--rows 9: the step has rows 0 to 3"),
    ] {
        let error = replay(&world, run, step, &[rows]).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn the_errors_of_a_replay_name_the_run() {
    let world = World::with_reward();
    world.rl("run", "algorithm.name=rloo").unwrap();
    let adapter = world.path("sft/adapter/adapter_config.json");
    let text = fs::read_to_string(&adapter).unwrap();
    fs::write(&adapter, text + "\n").unwrap();
    fs::remove_file(adapter.with_file_name("SHA256SUMS")).unwrap();
    let error = replay(&world, "run", 3, &[0]).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "{} has changed since {} started; resume with the original, or start a new run",
            adapter.display(),
            world.text("run")
        )
    );
}

/// A run of the version before checksums, mixtures of rewards and timings of their own.
#[test]
fn a_run_of_an_older_version_resumes() {
    let world = World::with_reward();
    let sets = "algorithm.name=ppo train.keep_checkpoints=9";
    world.rl("whole", &format!("{sets} train.steps=4")).unwrap();
    world.rl("old", &format!("{sets} train.steps=2")).unwrap();
    let old = world.path("old");
    let checkpoint = old.join("checkpoints/step-000002");
    fs::remove_file(checkpoint.join("SHA256SUMS")).unwrap();
    let mut state: Value =
        serde_json::from_slice(&fs::read(checkpoint.join("state.json")).unwrap()).unwrap();
    state.as_object_mut().unwrap().remove("format").unwrap();
    state.as_object_mut().unwrap().remove("results").unwrap();
    state["state"]
        .as_object_mut()
        .unwrap()
        .remove("rewards")
        .unwrap();
    fs::write(checkpoint.join("state.json"), state.to_string()).unwrap();
    let mut settings = world.settings("old");
    settings.remove("rewards").unwrap();
    settings["rollout"]
        .as_table_mut()
        .unwrap()
        .remove("clauses")
        .unwrap();
    fs::write(old.join("config.toml"), settings.to_string()).unwrap();
    world.forget_sums("old");
    // seconds stood beside the metrics
    let rows = run::read_metrics(&old).unwrap();
    let lines = rows.iter().map(|row| {
        let mut line = serde_json::json!(row.metrics);
        line["step"] = row.step.into();
        line["secs"] = row.secs.into();
        format!("{line}\n")
    });
    fs::write(old.join("metrics.jsonl"), lines.collect::<String>()).unwrap();
    fs::remove_file(old.join("timings.jsonl")).unwrap();

    world
        .rl("old", &format!("resume {sets} train.steps=4"))
        .unwrap();
    let (mut whole, mut resumed) = (world.content("whole"), world.content("old"));
    for content in [&mut whole, &mut resumed] {
        content.retain(|name, _| !name.ends_with("state.json") && name != "metrics.jsonl");
    }
    assert_eq!(
        whole.keys().collect::<Vec<_>>(),
        resumed.keys().collect::<Vec<_>>()
    );
    assert!(whole == resumed, "tensors and samples are the same");
    assert_eq!(world.metrics("whole"), world.metrics("old"));
    world.rl("new", &format!("{sets} train.steps=4")).unwrap();
    assert_same(&world, "whole", "new");
}
