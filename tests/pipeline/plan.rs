//! `plan`: what it says before a weight is read is what the run then does.

use super::bad_input::refused;
use super::world::{World, plan_by, tiny};
use clap::Parser;
use serde_json::{Value, json};
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

/// A directory that a LLaMA-7B would lie in, but for its weights.
fn llama_7b(world: &World) -> String {
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": 4096,
        "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32, "vocab_size": 32000,
        "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "tie_word_embeddings": false,
        "torch_dtype": "float16", "bos_token_id": 1, "eos_token_id": 2
    });
    let dir = world.path("llama-7b");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("config.json"), config.to_string()).unwrap();
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        fs::copy(tiny(&format!("base/{name}")), dir.join(name)).unwrap();
    }
    world.text("llama-7b")
}

/// Rows as long as the recipes let them be: demonstrations, or pairs.
fn long_rows(world: &World, pairs: bool) -> String {
    let row = |i: usize| {
        let words = |n: usize| vec!["shirt"; n].join(" ");
        let (prompt, answer) = (words(100 + i * 6), words(50 + i * 2));
        match pairs {
            true => json!({ "prompt": prompt, "chosen": answer, "rejected": words(150) }),
            false => json!({ "instruction": prompt, "output": answer }),
        }
    };
    let rows: Vec<Value> = (0..100).map(row).collect();
    let name = if pairs { "pairs.json" } else { "rows.json" };
    world.write(name, &Value::from(rows).to_string())
}

#[test]
fn the_recipes_of_7b_fit_a_card_of_24_gb_and_one_of_80() {
    let world = World::new();
    let (model, rows, pairs) = (
        llama_7b(&world),
        long_rows(&world, false),
        long_rows(&world, true),
    );
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/llama-7b");
    let matrices = 2usize * 32000 * 4096 + 32 * (4usize * 4096 * 4096 + 3 * 4096 * 11008);
    let weights = (0.7e9 + (2 * matrices + 4 * 65 * 4096) as f64) / 1e9;
    for (stage, name, key, data) in [
        ("sft", "sft", "source", &rows),
        ("reward-model", "rm", "source", &pairs),
        ("esrl-rlhf", "ppo", "policy", &rows),
        ("esrl-rlhf", "esrl", "policy", &rows),
    ] {
        let file = root.join(format!("{name}.toml"));
        let plan = |sets: &[&str]| {
            let more = sets.iter().map(|s| s.to_string());
            let sets = [format!("model.{key}={model}"), format!("data.path={data}")];
            let sets = sets.into_iter().chain(more).collect();
            plan_by(stage, Some(&file), sets, Some(world.path("out"))).unwrap()
        };
        let small = plan(&[]);
        let gb = |plan: &Value, what: &str| plan["memory"][what].as_f64().unwrap();
        assert!((gb(&small, "weights_gb") - weights).abs() < 1e-6);
        assert_eq!(gb(&small, "budget_gb"), 22.0, "{name}");
        assert!(
            gb(&small, "estimate_gb") <= 22.0,
            "{name}: {}",
            small["memory"]
        );
        // forwards are as full as they may be
        let tokens = gb(&small, "largest_forward_tokens");
        assert!((900.0..=1100.0).contains(&tokens), "{name}: {tokens}");
        assert_eq!(small["memory"]["measured"], false);
        assert!(small["notes"][0].as_str().unwrap().contains("computed"));

        let more = match stage {
            "sft" => "samples.n=4",
            "reward-model" => "reward.max_rows=16",
            _ => "rollout.max_rows=32",
        };
        let large = ["train.memory_gb=76", "train.micro_batch_tokens=2048", more];
        let large = plan(&large);
        assert!(
            gb(&large, "estimate_gb") <= 76.0,
            "{name}: {}",
            large["memory"]
        );
        let blocks = |plan: &Value| plan["memory"]["checkpointed_blocks"].as_u64().unwrap();
        assert!(blocks(&small) > blocks(&large), "{name}");
        assert_eq!(small["steps"], large["steps"], "{name}");
        assert_eq!(
            small["tokens"]["trained"], large["tokens"]["trained"],
            "{name}"
        );
    }
}

#[test]
fn what_cannot_fit_is_refused_with_the_change_that_would() {
    let world = World::new();
    let (model, rows) = (llama_7b(&world), long_rows(&world, false));
    let plan = |sets: &str| {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/llama-7b/ppo.toml");
        let sets = format!("model.policy={model} data.path={rows} {sets}");
        let sets = sets.split_whitespace().map(str::to_string).collect();
        plan_by("esrl-rlhf", Some(&file), sets, Some(world.path("out")))
    };
    // each change that is named does it, and one step less does not
    let number = |error: &str, key: &str| -> usize {
        let (_, rest) = error.split_once(&format!("{key} to ")).expect(error);
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap();
        digits.parse().unwrap()
    };
    let told = |sets: &str| run::one_line(&plan(sets).map(|_| ()).unwrap_err());
    let tokens = "train.micro_batch_tokens=4096 rollout.prompts=16 train.memory_gb=22";
    let fewer = number(&told(tokens), "lower train.micro_batch_tokens");
    plan(&format!("{tokens} train.micro_batch_tokens={fewer}")).unwrap();
    let many = "rollout.prompts=32 rollout.max_rows=32";
    let fewer = number(&told(many), "lower rollout.max_rows");
    plan(&format!("{many} rollout.max_rows={fewer}")).unwrap();
    let error = told("train.memory_gb=10");
    assert!(error.contains("even one sequence of"), "{error}");
    assert!(!error.contains('\n'), "{error}");
    // without a limit a card's memory is not known
    let sets = "algorithm.name=ppo device=cuda model.policy=~/base";
    let free = world.plan("esrl-rlhf", sets).unwrap();
    assert_eq!(free["memory"]["budget_gb"], Value::Null);
    assert!(free["notes"][1].as_str().unwrap().contains("--memory-gb"));
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
