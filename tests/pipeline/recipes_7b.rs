//! `plan` of LLaMA-7B on a GPU: the shipped recipes fit, and where a run does not, its advice
//! works.

use super::world::{World, plan_by, tiny};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// The directory of a LLaMA-7B without its weights.
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

/// Rows as long as the recipes allow: demonstrations, or pairs.
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

/// Stage, file, the key of the model, data.
fn recipes<'a>(
    rows: &'a str,
    pairs: &'a str,
) -> [(&'static str, &'static str, &'static str, &'a str); 4] {
    [
        ("sft", "sft", "source", rows),
        ("reward-model", "rm", "source", pairs),
        ("esrl-rlhf", "ppo", "policy", rows),
        ("esrl-rlhf", "esrl", "policy", rows),
    ]
}

#[test]
fn the_7b_recipes_fit_gpus_of_24_gb_and_80_gb() {
    let world = World::new();
    let (model, rows, pairs) = (
        llama_7b(&world),
        long_rows(&world, false),
        long_rows(&world, true),
    );
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/llama-7b");
    let matrices = 2usize * 32000 * 4096 + 32 * (4usize * 4096 * 4096 + 3 * 4096 * 11008);
    let weights = (0.7e9 + (2 * matrices + 4 * 65 * 4096) as f64) / 1e9;
    for (stage, name, key, data) in recipes(&rows, &pairs) {
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
        let large = ["train.memory_gb=76", "train.micro_batch_tokens=4096", more];
        let large = plan(&large);
        assert!(
            gb(&large, "estimate_gb") <= 76.0,
            "{name}: {}",
            large["memory"]
        );
        let layers = |plan: &Value| plan["memory"]["checkpointed_blocks"].as_u64().unwrap();
        assert!(layers(&small) <= 8, "{name}: {}", small["memory"]);
        assert_eq!(layers(&large), 0, "{name}: {}", large["memory"]);
        let forward = gb(&large, "largest_forward_tokens");
        assert!(forward > 2.0 * tokens, "{name}: {forward}");
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
    // the run fits with each change that the advice names
    let number = |error: &str, key: &str| -> usize {
        let (_, rest) = error.split_once(&format!("{key} to ")).expect(error);
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap();
        digits.parse().unwrap()
    };
    let refusal = |sets: &str| run::one_line(&plan(sets).map(|_| ()).unwrap_err());
    let tokens = "train.micro_batch_tokens=16384 rollout.prompts=32 train.memory_gb=22";
    let fewer = number(&refusal(tokens), "lower train.micro_batch_tokens");
    plan(&format!("{tokens} train.micro_batch_tokens={fewer}")).unwrap();
    let many = "rollout.prompts=32 rollout.max_rows=32";
    let fewer = number(&refusal(many), "lower rollout.max_rows");
    plan(&format!("{many} rollout.max_rows={fewer}")).unwrap();
    let error = refusal("train.memory_gb=10");
    assert!(error.contains("even one sequence of"), "{error}");
    assert!(!error.contains('\n'), "{error}");
    // a limit for all kinds of peak, down to where nothing helps
    let mut helped = 0;
    let many = "train.micro_batch_tokens=4096 rollout.prompts=32 rollout.max_rows=16";
    for gb in (150..=240).rev().step_by(5) {
        let sets = format!("{many} train.memory_gb={}", f64::from(gb) / 10.0);
        let Err(error) = plan(&sets) else { continue };
        let error = run::one_line(&error);
        let mut changed = sets.clone();
        for key in ["train.micro_batch_tokens", "rollout.max_rows"] {
            if error.contains(&format!("{key} to ")) {
                changed += &format!(" {key}={}", number(&error, key));
            }
        }
        if changed != sets {
            helped += 1;
            plan(&changed).expect(&error);
        }
    }
    assert!(helped > 3, "{helped}");
    // without a limit, the GPU's memory is unknown here
    let sets = "algorithm.name=ppo device=cuda model.policy=~/base";
    let free = world.plan("esrl-rlhf", sets).unwrap();
    assert_eq!(free["memory"]["budget_gb"], Value::Null);
    assert!(free["notes"][1].as_str().unwrap().contains("--memory-gb"));
}

#[test]
fn a_quantised_7b_fits_gpus_of_12_gb_and_8_gb() {
    let world = World::new();
    let (model, rows, pairs) = (
        llama_7b(&world),
        long_rows(&world, false),
        long_rows(&world, true),
    );
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/llama-7b");
    let (d, f) = (4096usize, 11008);
    let projections = 32 * (4 * d * d + 3 * d * f);
    for (weights, numbers, bytes, budget) in [
        ("q8_0", 32, 34, "train.memory_gb=11"),
        ("q4_0", 32, 18, "train.memory_gb=11"),
        ("q4_0", 32, 18, "train.memory_gb=7.3"),
        ("q4_k", 256, 144, "train.memory_gb=7.3"),
    ] {
        // embedding and head in bf16, norms in f32, and Down in bf16 for a product
        let rest = 2 * 2 * 32000 * d + 4 * 65 * d + 2 * d * f;
        let wanted = (0.7e9 + (projections / numbers * bytes + rest) as f64) / 1e9;
        for (stage, name, key, data) in recipes(&rows, &pairs) {
            let sets = [
                format!("model.{key}={model}"),
                format!("data.path={data}"),
                format!("model.weights={weights}"),
                budget.to_string(),
            ];
            let tight = stage == "esrl-rlhf" && budget.ends_with("7.3");
            let fewer = tight.then(|| "rollout.max_rows=2".to_string());
            // as the adapter of the recipe's sft, from which the others start
            let targets = "lora.targets=[\"q_proj\",\"v_proj\"]".to_string();
            let sets = sets.into_iter().chain(fewer).chain([targets]).collect();
            let file = root.join(format!("{name}.toml"));
            let plan = plan_by(stage, Some(&file), sets, Some(world.path("out"))).unwrap();
            let gb = |what: &str| plan["memory"][what].as_f64().unwrap();
            assert!(
                (gb("weights_gb") - wanted).abs() < 1e-6,
                "{name} {weights}: {}",
                gb("weights_gb")
            );
            assert!(gb("estimate_gb") <= gb("budget_gb"), "{name} {weights}");
        }
    }
}

/// ESRL's Table 3 compares PPO with ESRL. The two recipes differ in the elimination alone.
#[test]
fn the_recipes_of_ppo_and_esrl_differ_in_the_method_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/llama-7b");
    let resolved = |name: &str| {
        let file = root.join(format!("{name}.toml"));
        let config: esrl_rlhf::Config = run::load_config(Some(&file), &[]).unwrap();
        config.check().unwrap();
        let mut all = serde_json::to_value(config).unwrap();
        let mut given = all.as_object_mut().unwrap().remove("algorithm").unwrap();
        let method = given.as_object_mut().unwrap().remove("name").unwrap();
        let method = algorithms::resolve(method.as_str().unwrap(), &given).unwrap();
        (all, method)
    };
    let ((ppo, of_ppo), (esrl, of_esrl)) = (resolved("ppo"), resolved("esrl"));
    assert_eq!(ppo, esrl, "everything but [algorithm]");
    let alone = json!({ "mode": "released", "beta": 0.3, "ppo": of_ppo });
    assert_eq!(of_esrl, alone);
    // the batch of the paper's four GPUs
    assert_eq!(ppo["rollout"]["prompts"], 16);
}
