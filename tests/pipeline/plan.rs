//! `plan`: what it says before a weight is read is what the run then does.

use super::bad_input::refused;
use super::world::{World, tiny};
use clap::Parser;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Bytes of all files below `dir`.
fn bytes(dir: &Path) -> f64 {
    let mut sum = 0.0;
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        sum += match path.is_dir() {
            true => bytes(&path),
            false => fs::metadata(&path).unwrap().len() as f64,
        };
    }
    sum
}

fn numbers(values: &Value) -> Vec<f64> {
    let values = values.as_array().unwrap().iter();
    values.map(|v| v.as_f64().unwrap()).collect()
}

/// The run's memory, learning rates and disk are those of the plan.
#[track_caller]
fn kept(world: &World, plan: &Value, run: &str, section: &str, logged: &str) {
    let mut of_run = world.info(run)["memory"].clone();
    let mut of_plan = plan["memory"].clone();
    for memory in [&mut of_run, &mut of_plan] {
        let memory = memory.as_object_mut().unwrap();
        // what is free changes
        for only_here in ["budget_gb", "measured", "largest_forward_tokens"] {
            memory.remove(only_here);
        }
    }
    assert_eq!(of_plan, of_run, "{run}");
    let rates = numbers(&plan["learning_rate"][section]);
    assert_eq!(rates, world.curve(run, logged), "{run}");
    assert_eq!(rates.len() as u64, plan["steps"]["steps"], "{run}");
    let (said, is) = (
        plan["disk"]["run_bytes"].as_f64().unwrap(),
        bytes(&world.path(run)),
    );
    // logs and samples are guessed
    assert!(
        (said - is).abs() < 0.1 * is + 60_000.0,
        "{run}: {said} and {is}"
    );
}

#[test]
fn a_plan_is_what_the_run_then_does() {
    let world = World::new();
    let sets = "train.optimizer.schedule=cosine train.optimizer.warmup_ratio=0.3 train.max_steps=9";
    let plan = world.plan("sft", sets).unwrap();
    world.sft("sft", sets).unwrap();
    kept(&world, &plan, "sft", "train.optimizer", "train/lr");
    // 24 rows are 6 batches, so the steps are a pass and a half
    assert_eq!(
        plan["steps"]["rows"],
        world.info("sft")["data"]["train_rows"]
    );
    assert_eq!(plan["tokens"]["trained_is"], "Exact");

    let plan = world.plan("reward-model", sets).unwrap();
    world.reward("rm", sets).unwrap();
    kept(&world, &plan, "rm", "train.optimizer", "train/lr");
    assert_eq!(
        plan["steps"]["rows"],
        world.info("rm")["data"]["train_pairs"]
    );

    let pairs = format!("algorithm.name=dpo data.path={}", tiny("comparisons.json"));
    let demonstrations = format!(
        "algorithm.name=rwr data.path={}",
        tiny("demonstrations.json")
    );
    for (run, algorithm) in [
        ("ppo", "algorithm.name=ppo algorithm.minibatches=2"),
        ("esrl", "algorithm.name=esrl"),
        ("rest", "algorithm.name=rest"),
        ("dpo", pairs.as_str()),
        ("rwr", demonstrations.as_str()),
    ] {
        let sets =
            format!("{algorithm} train.policy.schedule=linear train.policy.warmup_ratio=0.5");
        let plan = world.plan("esrl-rlhf", &sets).unwrap();
        world.rl(run, &sets).unwrap();
        kept(&world, &plan, run, "train.policy", "policy/lr");
        let drawn = world.info(run)["summary"]["tokens_drawn"].as_f64().unwrap();
        let most = plan["tokens"]["drawn_at_most"].as_f64().unwrap();
        assert!(drawn <= most, "{run}: {drawn} of {most}");
        assert_eq!(drawn > 0.0, most > 0.0, "{run}");
    }
}

#[test]
fn users_mistakes_are_one_line() {
    let world = World::new();
    let refuse = |sets: &str, parts: &[&str]| {
        for (stage, key, more) in [
            ("sft", "source", ""),
            ("reward-model", "source", ""),
            ("esrl-rlhf", "policy", "algorithm.name=ppo"),
        ] {
            let sets = sets.replace("MODEL", &format!("model.{key}"));
            let sets = format!("model.{key}=~/base {more} {sets}");
            refused(&world, world.plan(stage, &sets).map(|_| ()), parts);
        }
    };
    refuse(
        "MODEL=runs/7b/sft",
        &[
            "no such directory",
            "a run that is still to be trained is planned from",
        ],
    );
    fs::create_dir(world.path("empty")).unwrap();
    refuse("MODEL=~/empty", &["no config.json"]);
    let text = fs::read_to_string(world.path("base/config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config.as_object_mut().unwrap().remove("intermediate_size");
    fs::create_dir(world.path("field")).unwrap();
    fs::write(world.path("field/config.json"), config.to_string()).unwrap();
    refuse(
        "MODEL=~/field",
        &["config.json", "intermediate_size is missing"],
    );
    refuse(
        "data.path=nowhere.json",
        &["nowhere.json", "cannot be read"],
    );
    refuse(
        "train.memory_gb=2.0 train.checkpoint_blocks=1",
        &["give one of them"],
    );
    refuse("train.checkpoint_blocks=7", &["the model has 2 blocks"]);
    refuse("train.memory_gb=0.01", &["of train.memory_gb = 0.01"]);
    refuse(
        "lora.r=999",
        &["lora.r = 999 is more than the model's width"],
    );
    refuse("lora.targets=[\"query\"]", &["\"query\" matches no layer"]);
    refuse("train.steeps=3", &["unknown key \"train.steeps\""]);
}

#[test]
fn the_command_line_plans() {
    let world = World::new();
    let config = format!(
        "[model]\nsource = \"{}\"\ntemplate = \"alpaca\"\n[data]\npath = \"{}\"\nmax_rows = 40\nmax_len = 96\n",
        world.text("base"),
        tiny("demonstrations.json")
    );
    let config = world.write("sft.toml", &config);
    let run = |more: &[&str]| {
        let words = ["sft", "plan", "--config", &config];
        let cli = sft::Cli::try_parse_from(words.iter().chain(more)).unwrap();
        cli.execute()
    };
    run(&[]).unwrap();
    run(&["--json", "--memory-gb", "0.5", "--set", "samples.n=0"]).unwrap();
    let error = run(&["--memory-gb", "0.01"]).unwrap_err();
    assert!(run::one_line(&error).contains("of train.memory_gb = 0.01"));
    assert!(sft::Cli::try_parse_from(["sft", "plan", "--resume"]).is_err());
}
