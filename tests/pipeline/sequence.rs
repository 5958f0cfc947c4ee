//! All stages in sequence, each on the result of the one before: sft, reward-model, esrl-rlhf,
//! evaluate.

use super::stages::{check_all_change, check_directory, loss_of};
use super::world::{World, tiny};
use testkit::assert_close_slices;

const ADAPTER: &str = "adapter/adapter_model.safetensors";

#[test]
fn the_stages_work_in_sequence() {
    let world = World::new();
    sft(&world);
    reward_model(&world);
    ppo(&world);
    for mode in ["corrected", "paper", "released"] {
        esrl(&world, mode);
    }
    answers_and_comparison(&world);
    merge(&world);
}

/// Every adapter tensor is trained; run.json names base and data.
fn sft(world: &World) {
    world
        .sft("sft", "train.save_every=1 train.keep_checkpoints=9")
        .unwrap();
    check_directory(world, "sft", &[ADAPTER, "adapter/adapter_config.json"]);
    check_all_change(world, "sft", 1, 4);
    assert_eq!(world.info("sft")["base"], world.text("base"));
    assert_eq!(world.info("sft")["source"], world.text("base"));
    assert_eq!(
        world.info("sft")["data"]["train_rows"].as_u64().unwrap()
            + world.info("sft")["data"]["held_out_rows"].as_u64().unwrap(),
        30
    );
}

/// Every tensor is trained; the artefact is complete.
fn reward_model(world: &World) {
    world
        .reward("rm", "train.save_every=1 train.keep_checkpoints=9")
        .unwrap();
    let parts =
        "reward.json head.safetensors adapter_model.safetensors adapter_config.json tokenizer.json";
    let parts: Vec<String> = parts.split(' ').map(|p| format!("reward/{p}")).collect();
    check_directory(
        world,
        "rm",
        &parts.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    check_all_change(world, "rm", 1, 4);
    assert_eq!(world.info("rm")["base"], world.text("base"));
    assert_eq!(world.info("rm")["source"], world.text("sft"));
    let last = world.at("rm", 4);
    for name in ["accuracy", "longer_wins_accuracy"] {
        assert!(
            (0.0..=1.0).contains(&last[&format!("eval/{name}")]),
            "{name}"
        );
    }
}

/// With one pass and one minibatch: policy and reference are equal at the first step, and every
/// ratio is 1.
fn ppo(world: &World) {
    world
        .rl(
            "ppo",
            "algorithm.name=ppo algorithm.epochs=1 train.save_every=1 train.keep_checkpoints=9",
        )
        .unwrap();
    check_directory(world, "ppo", &[ADAPTER, "heldout.json"]);
    check_all_change(world, "ppo", 1, 4);
    for name in ["reference", "base"] {
        assert_eq!(
            world.info("ppo")[name],
            world.text(if name == "base" { "base" } else { "sft" })
        );
    }
    assert_eq!(world.info("ppo")["reward"], world.text("rm"));
    let first = world.at("ppo", 1);
    assert!(first["first/policy/approxkl"].abs() < 1e-9);
    assert_eq!(first["first/policy/clipfrac"], 0.0);
    for name in ["objective/kl", "objective/kl_exact"] {
        assert!(first[name].abs() < 1e-5, "{name} = {}", first[name]);
    }
    for step in 1..=4 {
        let now = world.at("ppo", step);
        assert!(
            now["policy/approxkl"].abs() < 1e-9,
            "step {step}: {}",
            now["policy/approxkl"]
        );
        assert_eq!(now["policy/clipfrac"], 0.0);
        assert_close_slices("ratio", &[now["policy/ratio"]], &[1.0], 1e-6);
        assert!(
            now["policy/sampler_gap"] < 1e-4,
            "step {step}: {}",
            now["policy/sampler_gap"]
        );
    }
    assert!(
        world.at("ppo", 4)["objective/kl"] > 1e-4,
        "the policy moves away"
    );
}

/// One mode of ESRL. The totals in run.json are the sums of the logged rows.
fn esrl(world: &World, mode: &str) {
    let run = if mode == "corrected" { "esrl" } else { mode };
    let own = if mode == "released" {
        ""
    } else {
        "algorithm.tau_min=0.8"
    };
    world
        .rl(
            run,
            &format!("algorithm.name=esrl algorithm.mode={mode} {own}"),
        )
        .unwrap();
    check_directory(world, run, &[ADAPTER, "heldout.json"]);
    check_all_change(world, run, 2, 4);
    let first = world.at(run, 1);
    if mode != "paper" {
        assert!(
            first["policy/sampler_gap"] < 1e-4,
            "{mode}: {}",
            first["policy/sampler_gap"]
        );
        assert!(
            first["objective/kl"].abs() < 1e-5,
            "{mode}: {}",
            first["objective/kl"]
        );
    }
    let full = first["esrl/samples_full"];
    assert!(first["esrl/samples_drawn"] <= full && full > 0.0, "{mode}");
    // The ledger of run.json is the sum of the rows, greedy estimates with them.
    let sum = |metric: &str| world.curve(run, metric).iter().sum::<f64>();
    let greedy = if mode == "released" {
        0.0
    } else {
        sum("esrl/greedy_drawn")
    };
    let drawn = sum("esrl/samples_drawn") + greedy;
    assert_eq!(world.info(run)["summary"]["samples_drawn"], drawn, "{mode}");
}

/// Answers resume where they stopped, and the comparison has a row per run.
fn answers_and_comparison(world: &World) {
    let out = world.path("answers.jsonl");
    let mut answers =
        evaluate::AnswersConfig::new(&world.text("esrl"), tiny("questions.jsonl").as_ref(), &out);
    answers.max_new_tokens = 4;
    answers.greedy = true;
    let report = evaluate::answers(&answers).unwrap();
    assert_eq!((report.answered, report.already), (80, 0));
    assert_eq!(evaluate::answers(&answers).unwrap().already, 80);
    assert_eq!(std::fs::read_to_string(&out).unwrap().lines().count(), 80);

    let runs = ["sft", "ppo", "esrl"].map(|r| world.text(r));
    let runs: Vec<&str> = runs.iter().map(String::as_str).collect();
    let table = world.path("table");
    let report =
        evaluate::compare_with(&evaluate::CompareConfig::new(&runs, &table), None).unwrap();
    let names: Vec<&str> = report.rows.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names, ["sft", "ppo", "esrl"]);
    assert_eq!(report.prompts, 3);
    assert!(
        report.rows[0]
            .kl_k1
            .as_ref()
            .is_none_or(|kl| kl.mean.abs() < 1e-5)
    );
    assert!(report.rows.iter().all(|row| row.reward.is_some()));
}

/// The merged model gives the loss of base and adapter.
fn merge(world: &World) {
    let merged = world.path("merged");
    let report =
        evaluate::merge(&evaluate::MergeConfig::new(&world.text("esrl"), &merged)).unwrap();
    assert!(report.error < 1e-4 && report.change > 1e-3, "{report}");
    let demonstrations = tiny("demonstrations.json");
    let (adapter, whole) = (
        loss_of(world, "esrl", &demonstrations),
        loss_of(world, "merged", &demonstrations),
    );
    assert_close_slices("loss of the merged model", &[whole], &[adapter], 1e-4);
}
