//! `plan`: the run does what it predicted before a weight was read.

use super::bad_input::refused;
use super::world::{World, tiny};
use clap::Parser;
use planning::{Forward, RowSize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use testkit::assert_close_slices;

/// The files below `dir` with their bytes; links to one file are one.
fn files(dir: &Path, found: &mut BTreeMap<u64, u64>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::metadata(&path).unwrap();
        match metadata.is_dir() {
            true => files(&path, found),
            false => drop(found.insert(metadata.ino(), metadata.len())),
        }
    }
}

/// Bytes of all files below `dir`.
fn bytes(dir: &Path) -> f64 {
    let mut found = BTreeMap::new();
    files(dir, &mut found);
    found.values().sum::<u64>() as f64
}

fn numbers(values: &Value) -> Vec<f64> {
    let values = values.as_array().unwrap().iter();
    values.map(|v| v.as_f64().unwrap()).collect()
}

/// The run's memory, learning rates and disk are those of the plan.
#[track_caller]
fn check_kept(world: &World, plan: &Value, run: &str, section: &str, logged: &str) {
    let mut of_run = world.info(run)["memory"].clone();
    let mut of_plan = plan["memory"].clone();
    for memory in [&mut of_run, &mut of_plan] {
        let memory = memory.as_object_mut().unwrap();
        // free memory changes
        for only_here in ["budget_gb", "measured", "largest_forward_tokens"] {
            memory.remove(only_here);
        }
    }
    assert_eq!(of_plan, of_run, "{run}");
    let rates = numbers(&plan["learning_rate"][section]);
    // JSON does not carry every f64 to its last bit
    assert_close_slices(run, &world.curve(run, logged), &rates, 1e-15);
    assert_eq!(rates.len() as u64, plan["steps"]["steps"], "{run}");
    let (planned, written) = (
        plan["disk"]["run_bytes"].as_f64().unwrap(),
        bytes(&world.path(run)),
    );
    // logs and samples are estimated
    assert!(
        (planned - written).abs() < 0.1 * written + 60_000.0,
        "{run}: {planned} and {written}"
    );
}

#[test]
fn the_run_does_what_its_plan_predicts() {
    let world = World::new();
    let sets = "train.optimizer.schedule=cosine train.optimizer.warmup_ratio=0.3 train.max_steps=9";
    let plan = world.plan("sft", sets).unwrap();
    world.sft("sft", sets).unwrap();
    check_kept(&world, &plan, "sft", "train.optimizer", "train/lr");
    // 24 rows are 6 batches, so 9 steps are an epoch and a half
    assert_eq!(
        plan["steps"]["rows"],
        world.info("sft")["data"]["train_rows"]
    );
    assert_eq!(plan["tokens"]["trained_is"], "Exact");

    let plan = world.plan("reward-model", sets).unwrap();
    world.reward("rm", sets).unwrap();
    check_kept(&world, &plan, "rm", "train.optimizer", "train/lr");
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
        check_kept(&world, &plan, run, "train.policy", "policy/lr");
        let drawn = world.info(run)["summary"]["tokens_drawn"].as_f64().unwrap();
        let most = plan["tokens"]["drawn_at_most"].as_f64().unwrap();
        assert!(drawn <= most, "{run}: {drawn} of {most}");
        assert_eq!(drawn > 0.0, most > 0.0, "{run}");
    }
}

#[test]
fn user_errors_of_plan_are_one_line() {
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
            "to plan from a run that is not trained yet",
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
        &["set one of them"],
    );
    refuse("train.checkpoint_blocks=7", &["the model has 2 layers"]);
    refuse(
        "train.memory_gb=0.01",
        &["more than train.memory_gb = 0.01"],
    );
    refuse(
        "lora.r=999",
        &["lora.r = 999 is more than the model's width"],
    );
    refuse("lora.targets=[\"query\"]", &["\"query\" matches no layer"]);
    refuse("train.steeps=3", &["unknown key \"train.steeps\""]);
}

#[test]
fn the_command_line_runs_plan() {
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
    assert!(run::one_line(&error).contains("more than train.memory_gb = 0.01"));
    assert!(sft::Cli::try_parse_from(["sft", "plan", "--resume"]).is_err());
}

/// Its 10¹² steps would take days if each were walked, or if each rate were computed.
#[test]
fn the_time_of_plan_does_not_depend_on_the_number_of_steps() {
    let world = World::new();
    let text = |stage: &str, sets: &str| {
        let plan = world.plan_record(stage, sets).unwrap();
        assert_eq!(plan.work.steps, 1_000_000_000_000);
        assert!(plan.work.forwards.tokens > 1_000_000_000_000);
        plan.text()
    };
    let epochs = "train.max_steps=1000000000000 train.epochs=1e12";
    let sft = text("sft", epochs);
    assert!(sft.contains("1,000,000,000,000; 4 of"), "{sft}");
    assert!(sft.contains("at step 1000000000000"), "{sft}");
    text("reward-model", &format!("model.source=~/base {epochs}"));
    for algorithm in ["ppo", "rest", "dpo"] {
        let data = match algorithm {
            "dpo" => tiny("comparisons.json"),
            _ => tiny("prompts.json"),
        };
        text(
            "esrl-rlhf",
            &format!(
                "model.policy=~/base algorithm.name={algorithm} data.path={data} \
                 train.steps=1000000000000"
            ),
        );
    }
}

/// Four epochs and the start of another: the rest is extrapolated.
#[test]
fn at_most_five_epochs_of_batches_are_walked() {
    let loader = |cursor| data::Loader::new(&data::Mixture::of_rows(30), 4, 1, cursor);
    // 8 batches an epoch, of 4 rows but for the last of 2; a million epochs and 3 batches
    let walked: Vec<_> = planning::batches(8_000_003, loader).collect();
    let rows = walked.iter().map(|(_, batch, times)| batch.len() * times);
    assert_eq!(walked.len(), 4 * 8 + 3);
    assert_eq!(rows.sum::<usize>(), 30_000_000 + 12);
}

/// Of a run of few epochs every batch is walked, so nothing is assumed.
#[test]
fn runs_of_four_epochs_are_planned_from_their_own_batches() {
    let loader = |cursor| data::Loader::new(&data::Mixture::of_rows(30), 4, 1, cursor);
    let walked: Vec<_> = planning::batches(4 * 8 + 5, loader).collect();
    let mut loop_loader = loader(data::Cursor::default());
    let run: Vec<_> = (0..37)
        .map(|step| (step, loop_loader.next_batch(), 1))
        .collect();
    assert_eq!(walked, run);
}

#[test]
fn no_micro_batch_of_any_epoch_is_larger_than_the_bound() {
    for seed in 0..20 {
        let mut rng = run::stream(seed, "lengths", 0, 0);
        let lens: Vec<usize> = (0..40)
            .map(|_| (60.0 * rand::Rng::random_range(&mut rng, -1.0f64..3.0).exp()) as usize)
            .collect();
        let items: Vec<(usize, usize)> = lens.iter().map(|len| (*len, len + len / 3)).collect();
        for limit in [200, 1024, 4096] {
            let bound = planning::largest_micro_batch(&items, 4, limit);
            let mut loader = data::Loader::new(
                &data::Mixture::of_rows(items.len()),
                4,
                seed,
                data::Cursor::default(),
            );
            let mut largest = 0;
            for _ in 0..50 * 10 {
                let batch = loader.next_batch();
                let counted: Vec<usize> = batch.iter().map(|i| items[*i].0).collect();
                for range in ops::micro_batches(&counted, limit) {
                    largest = largest.max(batch[range].iter().map(|i| items[*i].1).sum());
                }
            }
            assert!(
                largest <= bound,
                "seed {seed}, limit {limit}: {largest} > {bound}"
            );
            assert!(
                bound <= 2 * largest,
                "seed {seed}, limit {limit}: {largest}, {bound}"
            );
        }
    }
}

/// Groups of rows that share a prompt or not: their sizes are those of the packed ids.
#[test]
fn packed_sizes_are_those_of_the_packed_ids() {
    let mut rng = run::stream(1, "lengths", 0, 0);
    let mut up_to = |n: usize| rand::Rng::random_range(&mut rng, 1..=n);
    for _ in 0..50 {
        let mut sizes = Vec::new();
        for prompt in 0..4 {
            let size = (prompt % 3, up_to(5));
            let responses = up_to(3);
            sizes.extend((0..responses).map(|_| RowSize {
                prompt: if responses == 2 { (0, 0) } else { size },
                response: up_to(4),
            }));
        }
        // equal prompts have equal ids
        let ids: Vec<Vec<u32>> = sizes
            .iter()
            .map(|row| {
                let mut ids = vec![row.prompt.0 as u32; row.prompt.1];
                ids.resize(row.tokens(), 9);
                ids
            })
            .collect();
        let rows = ids
            .iter()
            .zip(&sizes)
            .map(|(ids, row)| (&ids[..], row.prompt.1));
        let layout = models::Packed::new(&rows.collect::<Vec<_>>()).layout();
        let (lens, reads) = (layout.lens(), layout.contexts());
        let pairs = lens.iter().zip(&reads).map(|(len, read)| len * read);
        let pairs = pairs.sum();
        let tokens = layout.n_tokens();
        assert_eq!(Forward::packed(&sizes), Forward { tokens, pairs });
    }
}

/// Weights may choose the longest row of a pool each time, if rows are replaced.
#[test]
fn a_pool_with_replacement_may_repeat_its_longest_row() {
    let world = World::new();
    let words = |n: usize| vec!["shirt"; n].join(" ");
    let row = |n: usize| serde_json::json!({ "instruction": words(3), "output": words(n) });
    let rows: Vec<Value> = (1..=9).chain([30]).map(row).collect();
    let data = world.write("rows.json", &Value::from(rows).to_string());
    let largest = |algorithm: &str, prompts: usize, limit: usize| {
        let sets = format!(
            "model.policy=~/base algorithm.name={algorithm} data.path={data} train.steps=1 \
             data.held_out=0 rollout.max_new_tokens=40 rollout.prompts={prompts} train.micro_batch_tokens={limit}"
        );
        let plan = world.plan("esrl-rlhf", &sets).unwrap();
        let tokens = &plan["memory"]["largest_forward_tokens"];
        tokens.as_u64().unwrap() as usize
    };
    let longest = largest("a_lol", 1, 4096);
    assert_eq!(largest("a_lol", 4, 4096), 4 * longest);
    assert_eq!(largest("a_lol", 4, 3 * longest + 5), 3 * longest + 5);
    assert_eq!(largest("a_lol", 4, 1), longest);
    // each row once: answers of 30, 9, 8 and 7 words
    assert_eq!(largest("rwr", 4, 4096), 4 * longest - 21 - 22 - 23);
}

/// A row is as long in every epoch, so the tokens of sft are exact over any number of steps.
#[test]
fn extrapolated_tokens_are_those_of_every_step() {
    let world = World::new();
    let tokens = |steps: usize| {
        let sets = format!("train.max_steps={steps} train.epochs=99");
        let plan = world.plan_record("sft", &sets).unwrap();
        (plan.work.forwards.tokens, plan.work.rows.div_ceil(4))
    };
    let (_, per_epoch) = tokens(1);
    let one = tokens(per_epoch).0;
    assert_eq!(tokens(3 * per_epoch).0, 3 * one);
    assert!(tokens(3 * per_epoch + 1).0 > 3 * one);
    assert!(tokens(3 * per_epoch + 1).0 < 4 * one);
}
