//! What a run says at its end: steps that changed nothing, an evaluation below the first one; and
//! where its reward model reads a response.

use super::world::{World, tiny};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

#[test]
fn steps_that_teach_nothing_are_counted() {
    let world = World::with_reward();
    // every response gets 1, and rloo compares those of a prompt
    let flat = "algorithm.name=rloo algorithm.kl_coef=0 algorithm.eos_penalty=0 \
                rewards=[{kind=\"length\",max=99}] watch.window=2";
    world.rl_by("flat", flat).unwrap();
    let info = world.info("flat");
    assert_eq!(info["warnings"]["idle_steps"], 1);
    assert_eq!(
        info["notes"]["idle_steps"],
        "4 of 4 steps changed nothing: the learning rate or every gradient was 0"
    );
    assert_eq!(world.curve("flat", "watch/idle_steps"), [1.0; 4]);
    world.rl("healthy", "algorithm.name=rloo").unwrap();
    assert_eq!(world.info("healthy")["notes"]["idle_steps"], Value::Null);
}

#[test]
fn a_policy_that_did_not_move_is_named_at_the_end() {
    let world = World::with_reward();
    let sets = "algorithm.name=rloo train.steps=8 train.policy.lr=1e-9";
    world.rl("still", sets).unwrap();
    let info = world.info("still");
    let text = info["notes"]["same"].as_str().unwrap();
    assert!(
        text.starts_with("the policy is still the reference (KL "),
        "{text}"
    );
    assert!(text.ends_with("raise train.policy.lr"), "{text}");
    let moved = "algorithm.name=rloo train.steps=8 train.policy.lr=1e-2";
    world.rl("moved", moved).unwrap();
    assert_eq!(world.info("moved")["notes"]["same"], Value::Null);
}

#[test]
fn a_run_that_ends_worse_says_so() {
    let world = World::with_reward();
    let sets = "algorithm.name=rloo";
    // the first evaluation is put above, or below, whatever the last one will be
    for (run, start) in [("fell", 1e6), ("rose", -1e6)] {
        world.rl(run, &format!("{sets} train.steps=2")).unwrap();
        let file = world.path(run).join("metrics.jsonl");
        let text = fs::read_to_string(&file).unwrap();
        let (first, rest) = text.split_once('\n').unwrap();
        let mut row: Value = serde_json::from_str(first).unwrap();
        assert!(row["eval/reward"].is_f64(), "{row}");
        row["eval/reward"] = json!(start);
        fs::write(file, format!("{row}\n{rest}")).unwrap();
        // which has a checksum of each row
        fs::remove_file(world.path(run).join("timings.jsonl")).unwrap();
        world
            .rl(run, &format!("resume {sets} train.steps=4"))
            .unwrap();
    }
    let info = world.info("fell");
    let text = info["notes"]["worse"].as_str().unwrap();
    assert!(
        text.starts_with("the reward on held-out prompts ended at "),
        "{text}"
    );
    assert!(
        text.contains("below the 1000000.000 where it began"),
        "{text}"
    );
    assert_eq!(world.info("rose")["notes"]["worse"], Value::Null);
}

/// The policy's schedule begins when it may learn. A run that began under the first rules goes on
/// under them.
#[test]
fn critic_warm_up_does_not_use_up_the_policys_schedule() {
    let world = World::with_reward();
    let sets = "algorithm.name=ppo algorithm.epochs=1 train.critic_warmup_steps=2 train.steps=6 \
                train.policy.schedule=linear train.policy.lr=0.004";
    world.rl("new", sets).unwrap();
    let lr = |run: &str| world.curve(run, "policy/lr");
    assert_eq!(lr("new"), [0.0, 0.0, 0.004, 0.003, 0.002, 0.001]);
    assert_eq!(world.info("new")["notes"]["idle_steps"], Value::Null);

    world
        .rl(
            "old",
            &sets.replace("steps=6", "steps=6 train.save_every=2 train.steps=2"),
        )
        .unwrap();
    let file = world.path("old/run.json");
    let mut info = world.info("old");
    for key in ["rules", "sha256", "files"] {
        info.as_object_mut().unwrap().remove(key);
    }
    fs::write(file, info.to_string()).unwrap();
    world.rl("old", &format!("resume {sets}")).unwrap();
    let wanted = [0.0, 0.0, 4.0, 3.0, 2.0, 1.0].map(|sixths| sixths * 0.004 / 6.0);
    testkit::assert_close_slices("old", &lr("old"), &wanted, 1e-12);
}

/// The base of the tiny world with a full stop as a second end token.
fn two_ends(world: &World) {
    fs::create_dir(world.path("two")).unwrap();
    for entry in fs::read_dir(tiny("base")).unwrap() {
        let file = entry.unwrap().path();
        fs::copy(&file, world.path("two").join(file.file_name().unwrap())).unwrap();
    }
    let ends = json!({ "bos_token_id": 1, "eos_token_id": [2, 16], "pad_token_id": 0 });
    let file = world.path("two/generation_config.json");
    let _ = fs::remove_file(&file);
    fs::write(file, ends.to_string()).unwrap();
}

/// Prompt, score and text of each row that `replay` prints. `</s>` is no text.
fn rows_of(page: &str) -> Vec<(String, f64, String)> {
    let mut rows: Vec<(String, f64, String)> = Vec::new();
    let quoted = |line: &str| -> Option<(String, usize)> {
        let mut stream = serde_json::Deserializer::from_str(line).into_iter::<String>();
        let text = stream.next()?.ok()?;
        Some((text, stream.byte_offset()))
    };
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("row ") {
            let (_, rest) = rest.split_once(": ").unwrap();
            let (prompt, end) = quoted(rest).unwrap();
            let score = rest[end..].strip_prefix(", score ").unwrap();
            let score = score.split(',').next().unwrap().parse().unwrap();
            rows.push((prompt, score, String::new()));
        } else if let Some(at) = line.find("  \"") {
            let (token, _) = quoted(&line[at + 2..]).unwrap();
            if token != "</s>" {
                rows.last_mut().unwrap().2 += &token;
            }
        }
    }
    rows
}

#[test]
fn a_second_end_token_is_read_as_eos_everywhere() {
    let world = World::new();
    two_ends(&world);
    world
        .sft(
            "sft",
            "model.source=~/two train.max_steps=8 data.max_rows=60",
        )
        .unwrap();
    world.reward("rm", "").unwrap();
    let sets = "algorithm.name=rloo algorithm.samples=2 rollout.prompts=8 rollout.max_new_tokens=40 \
                train.steps=1";
    world.rl("rl", sets).unwrap();
    let page = esrl_rlhf::replay(&esrl_rlhf::ReplayConfig {
        base: None,
        run: world.path("rl"),
        step: 1,
        rows: (0..16).collect(),
        html: None,
        force: false,
    });
    let page = page.unwrap();
    let rows = rows_of(&page);
    assert_eq!(rows.len(), 16);
    let with_stop = rows
        .iter()
        .filter(|(_, _, text)| text.ends_with('.'))
        .count();
    assert!(
        with_stop > 2,
        "{with_stop} responses end with the second end token"
    );
    // the same answers as text, which is how training and `score` see them
    let pairs: String = rows
        .iter()
        .filter(|(_, _, text)| text.ends_with('.'))
        .map(|(prompt, _, text)| {
            let pair = json!({ "prompt": prompt, "chosen": text, "rejected": "No." });
            format!("{pair}\n")
        })
        .collect();
    let data = world.write("pairs.jsonl", &pairs);
    let scores = world.path("scores.jsonl");
    let config = evaluate::ScoreConfig {
        out: Some(scores.clone()),
        ..evaluate::ScoreConfig::new(&world.text("rm"), Path::new(&data))
    };
    evaluate::score(&config).unwrap();
    let reward = fs::read(world.path("rm/reward/reward.json")).unwrap();
    let reward: Value = serde_json::from_slice(&reward).unwrap();
    let number = |value: &Value| value.as_f64().unwrap();
    let text = fs::read_to_string(scores).unwrap();
    let wanted = text.lines().map(|line| {
        let row: Value = serde_json::from_str(line).unwrap();
        (number(&row["chosen"]) - number(&reward["mean"])) / number(&reward["std"])
    });
    let found = rows.iter().filter(|(_, _, text)| text.ends_with('.'));
    let mut n = 0;
    for ((prompt, score, text), wanted) in found.zip(wanted) {
        assert!(
            (score - wanted).abs() < 2e-3,
            "{prompt:?} {text:?}: {score} and {wanted}"
        );
        n += 1;
    }
    assert_eq!(n, with_stop);
}
