//! What can be refused without a row is refused before any is read: reading may take minutes.
//!
//! No command can read the data file of these cases: one that tried would name it.

use super::world::{World, tiny};
use std::fs;

const STAGES: [(&str, &str); 3] = [
    ("sft", "demonstrations.json"),
    ("rm", "comparisons.json"),
    ("rl", "prompts.json"),
];

/// A world with a run of each stage, whose data cannot be read any more.
fn world() -> World {
    let world = World::new();
    for (stage, file) in STAGES {
        fs::copy(tiny(file), world.path(file)).unwrap();
        start(&world, stage, stage, "").unwrap();
    }
    for (_, file) in STAGES {
        world.write(file, "no row\n");
    }
    world
}

fn file(stage: &str) -> &'static str {
    STAGES
        .into_iter()
        .find(|(name, _)| *name == stage)
        .unwrap()
        .1
}

fn start(world: &World, stage: &str, run: &str, sets: &str) -> anyhow::Result<()> {
    let sets = format!("data.path=~/{} {sets}", file(stage));
    match stage {
        "sft" => world.sft(run, &sets),
        "rm" => world.reward(run, &sets),
        _ if sets.contains("algorithm.name=") => world.rl(run, &sets),
        _ => world.rl(run, &format!("algorithm.name=ppo {sets}")),
    }
}

#[track_caller]
fn refused(world: &World, (stage, run): (&str, &str), sets: &str, expected: &str) {
    let error = start(world, stage, run, sets).expect_err(expected);
    let error = run::one_line(&error);
    assert!(error.contains(expected), "{stage} {sets}: {error}");
}

#[test]
fn a_new_run_is_refused_before_any_row_is_read() {
    let world = world();
    for (stage, file) in STAGES {
        let out = |sets: &str, expected: &str| refused(&world, (stage, "out"), sets, expected);
        out("", &world.text(file)); // nothing else is wrong
        refused(
            &world,
            (stage, stage),
            "",
            "exists; continue it with --resume",
        );
        refused(
            &world,
            (stage, &format!("{file}/out")),
            "",
            "cannot write into",
        );
        out("device=cuda:99", "device \"cuda:99\"");
        let model = match stage {
            "rl" => "model.policy",
            _ => "model.source",
        };
        out(&format!("{model}=~/nothing"), "no such directory");
        let target = "\"nothing\" matches no layer";
        out(
            &format!("{model}=~/base lora.targets=[\"nothing\"]"),
            target,
        );
    }
    let refused = |stage: &str, sets: &str, expected: &str| {
        refused(&world, (stage, "out"), sets, expected);
    };
    for stage in ["sft", "rm"] {
        refused(
            stage,
            "data.max_len=129",
            "data.max_len = 129 is more than the model's context of 128",
        );
    }
    let full = "fills the model's context of 128";
    refused("sft", "samples.max_new_tokens=128", full);
    refused("rm", "reward.normalisation_max_new_tokens=128", full);
}

#[test]
fn an_rl_run_of_any_method_is_refused_before_any_row_is_read() {
    let world = world();
    let refused = |sets: &str, expected: &str| {
        refused(&world, ("rl", "out"), sets, expected);
    };
    for method in algorithms::names() {
        let name = format!("algorithm.name={method}");
        let long = format!("{name} rollout.max_new_tokens=129");
        refused(
            &long,
            "rollout.max_new_tokens = 129 is more than the model's context",
        );
    }
    refused("model.reward=~/sft", "sft/reward does not exist");
    refused(
        "model.policy=~/base model.template=raw train.critic_init=zero",
        "another prompt template",
    );
    refused(
        "algorithm.name=rloo rewards=[{kind=\"process\",command=[\"/nothing\"]}]",
        "there is no such program",
    );
    world.model("other", 2);
    let moved = "model.policy=~/base2";
    world.sft("base2", "model.source=~/other").unwrap();
    refused(moved, "is another one");
    fs::remove_file(world.path("rm/reward/head.safetensors")).unwrap();
    refused("", "head.safetensors is missing");
}

#[test]
fn a_resume_is_refused_before_any_row_is_read() {
    let world = world();
    for (stage, file) in STAGES {
        let resumed = |sets: &str, expected: &str| {
            refused(&world, (stage, stage), &format!("resume {sets}"), expected);
        };
        resumed("", &world.text(file)); // nothing else is wrong
        resumed("train.seed=7", "train.seed was 1 and is 7");
        let (key, room) = match stage {
            "rl" => ("train.steps", "data.max_prompt_len"),
            _ => ("train.max_steps", "data.max_len"),
        };
        resumed(&format!("{key}=3"), "the run has 4 steps already");
        resumed(&format!("{room}=65"), &format!("{room} was "));
        let none = format!("resume {key}=9");
        refused(&world, (stage, "none"), &none, "no such run");
        let lock = fs::File::open(world.path(stage).join(".lock")).unwrap();
        lock.lock().unwrap();
        resumed("", "is being written by another process");
    }
    for (adapter, stages) in [("sft/adapter", &["rm", "rl"][..]), ("rm/reward", &["rl"])] {
        fs::remove_file(world.path(adapter).join("SHA256SUMS")).unwrap();
        let settings = world.path(adapter).join("adapter_config.json");
        let text = fs::read_to_string(&settings).unwrap();
        fs::write(&settings, format!("{text}\n")).unwrap();
        for stage in stages {
            refused(&world, (stage, stage), "resume", "has changed since");
        }
        fs::write(&settings, text).unwrap();
    }
}
