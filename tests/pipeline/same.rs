//! What must not change a result: an interruption, the size of a micro-batch, and how many rows are
//! decoded together.

use super::world::World;
use anyhow::Result;
use std::fs;
use testkit::{assert_close, assert_close_slices};

pub type Stage = fn(&World, &str, &str) -> Result<()>;

/// Two steps, then two more by `--resume`, against four in one go.
#[track_caller]
pub fn check_resume(world: &World, stage: Stage, steps: &str, sets: &str) {
    stage(
        world,
        "whole",
        &format!("{sets} train.keep_checkpoints=9 {steps}=4"),
    )
    .unwrap();
    stage(
        world,
        "parts",
        &format!("{sets} train.keep_checkpoints=9 {steps}=2"),
    )
    .unwrap();
    stage(
        world,
        "parts",
        &format!("resume {sets} train.keep_checkpoints=9 {steps}=4"),
    )
    .unwrap();
    assert_same(world, "whole", "parts");
    assert_eq!(world.info("parts")["resumed"].as_array().unwrap().len(), 1);

    // Killed in step 4 after the checkpoint of step 2: rows too many, half a row, half a
    // checkpoint, no result yet.
    world.copy("whole", "killed");
    let killed = world.path("killed");
    fs::remove_dir_all(killed.join("checkpoints/step-000004")).unwrap();
    fs::create_dir(killed.join("checkpoints/.tmp-abc")).unwrap();
    let metrics = fs::read_to_string(killed.join("metrics.jsonl")).unwrap();
    fs::write(killed.join("metrics.jsonl"), &metrics[..metrics.len() - 9]).unwrap();
    stage(
        world,
        "killed",
        &format!("resume {sets} train.keep_checkpoints=9 {steps}=4"),
    )
    .unwrap();
    assert_same(world, "whole", "killed");
}

#[track_caller]
pub fn assert_same(world: &World, a: &str, b: &str) {
    assert_eq!(world.metrics(a), world.metrics(b));
    let (a, b) = (world.content(a), world.content(b));
    let names =
        |c: &std::collections::BTreeMap<String, Vec<u8>>| c.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&a), names(&b));
    assert!(a.len() > 6, "{:?}", names(&a));
    for (name, bytes) in &a {
        assert!(*bytes == b[name], "{name} differs");
    }
}

#[test]
fn resumed_sft_equals_an_uninterrupted_run() {
    check_resume(
        &World::new(),
        World::sft,
        "train.max_steps",
        "lora.dropout=0.1",
    );
}

#[test]
fn resumed_full_sft_equals_an_uninterrupted_run() {
    check_resume(&World::new(), World::sft, "train.max_steps", "method=full");
}

#[test]
fn a_resumed_reward_model_equals_an_uninterrupted_run() {
    let world = World::new();
    world.sft("sft", "").unwrap();
    check_resume(
        &world,
        World::reward,
        "train.max_steps",
        "reward.center_coefficient=0.01",
    );
}

#[test]
fn resumed_ppo_equals_an_uninterrupted_run() {
    let sets = "algorithm.name=ppo algorithm.epochs=2 algorithm.minibatches=2 algorithm.kl_controller=adaptive \
                algorithm.kl_horizon=10 train.critic_warmup_steps=1";
    check_resume(&World::with_reward(), World::rl, "train.steps", sets);
}

#[test]
fn resumed_esrl_equals_an_uninterrupted_run() {
    // 6 prompts, 4 a step: they come back, and the memory of their capability counts.
    let sets = "algorithm.name=esrl data.max_rows=7 data.held_out=0.15";
    check_resume(&World::with_reward(), World::rl, "train.steps", sets);
}

#[test]
fn every_resumed_method_equals_an_uninterrupted_run() {
    let world = World::with_reward();
    for entry in algorithms::registry() {
        let name = entry.name;
        let algorithm = algorithms::build(name, &serde_json::json!({}), 1).unwrap();
        let data = match algorithm.requirements().source {
            algorithms::DataSource::Rollouts => "",
            algorithms::DataSource::Pool(_) => "demonstrations.json",
            algorithms::DataSource::Pairs => "comparisons.json",
        };
        let data = match data {
            "" => String::new(),
            file => format!("data.path={}", super::world::tiny(file)),
        };
        let sets = format!("algorithm.name={name} {data} train.keep_checkpoints=9");
        let run = |part: &str| format!("{name}-{part}");
        world
            .rl(&run("whole"), &format!("{sets} train.steps=4"))
            .unwrap();
        world
            .rl(&run("parts"), &format!("{sets} train.steps=2"))
            .unwrap();
        world
            .rl(&run("parts"), &format!("resume {sets} train.steps=4"))
            .unwrap();
        assert_same(&world, &run("whole"), &run("parts"));
    }
}

/// Metrics and trained tensors of two runs, within rounding.
#[track_caller]
fn assert_near(world: &World, a: &str, b: &str, step: u64) {
    let (rows_a, rows_b) = (world.metrics(a), world.metrics(b));
    assert_eq!(rows_a.len(), rows_b.len());
    for (a, b) in rows_a.iter().zip(&rows_b) {
        for (name, value) in &a.metrics {
            // a variance of rounding errors is rounding
            assert_close_slices(name, &[b.metrics[name]], &[*value], 1e-5);
        }
    }
    let (a, b) = (world.params(a, step), world.params(b, step));
    for (name, tensor) in &a {
        assert_close(name, &b[name], tensor, 1e-5);
    }
}

#[test]
fn micro_batches_change_nothing() {
    let world = World::with_reward();
    let gentle = "train.optimizer.lr=1e-3 train.optimizer.eps=1e-3 train.max_steps=2";
    for (name, tokens) in [("one", 4096), ("many", 50)] {
        world
            .sft(
                &format!("sft-{name}"),
                &format!("{gentle} train.micro_batch_tokens={tokens}"),
            )
            .unwrap();
        world
            .reward(
                &format!("rm-{name}"),
                &format!("{gentle} train.micro_batch_tokens={tokens}"),
            )
            .unwrap();
        for algorithm in ["ppo", "esrl"] {
            let critic = match algorithm {
                "ppo" => "train.critic.lr=1e-3 train.critic.eps=1e-3",
                _ => "",
            };
            let sets = format!(
                "algorithm.name={algorithm} train.steps=2 train.policy.lr=1e-3 \
                 train.policy.eps=1e-3 {critic} train.micro_batch_tokens={tokens}"
            );
            world.rl(&format!("{algorithm}-{name}"), &sets).unwrap();
        }
    }
    for stage in ["sft", "rm", "ppo", "esrl"] {
        assert_near(&world, &format!("{stage}-one"), &format!("{stage}-many"), 2);
    }
}

#[test]
fn rows_decoded_together_change_no_sample() {
    let world = World::with_reward();
    let sets = "algorithm.name=esrl train.steps=2 train.policy.lr=1e-3 train.policy.eps=1e-3";
    for rows in [1, 3, 32] {
        world
            .rl(
                &format!("rows-{rows}"),
                &format!("{sets} rollout.max_rows={rows}"),
            )
            .unwrap();
    }
    for rows in [1, 3] {
        for step in [1, 2] {
            let [a, b] = [rows, 32].map(|r| {
                fs::read_to_string(world.path(&format!("rows-{r}/samples/step-{step:06}.md")))
                    .unwrap()
            });
            assert_eq!(a, b, "{rows} rows, step {step}");
        }
        assert_near(&world, "rows-32", &format!("rows-{rows}"), 2);
    }
}
