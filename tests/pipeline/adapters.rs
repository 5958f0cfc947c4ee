//! Adapters made elsewhere, and bases that have moved: each stage starts from them, refuses what
//! does not belong together, and says where it looked.
//!
//! Long because one function has the list of what does not belong together.

use super::bad_input::{STAGES, refused};
use super::world::{World, tiny};
use candle_core::Device;
use evaluate::{AnswersConfig, MergeConfig, ScoreConfig, answers, merge, score};
use models::{CausalLm, Config, ModelSource};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// The adapter of the run `from` as PEFT would write it: no fingerprint, no checksums, and this
/// name of its base.
pub fn peft(world: &World, from: &str, to: &str, base: &str) {
    let (from, to) = (world.path(from).join("adapter"), world.path(to));
    fs::create_dir_all(&to).unwrap();
    let weights = "adapter_model.safetensors";
    let tensors = candle_core::safetensors::load(from.join(weights), &Device::Cpu).unwrap();
    candle_core::safetensors::save(&tensors, to.join(weights)).unwrap();
    let settings = fs::read(from.join("adapter_config.json")).unwrap();
    let mut settings: Value = serde_json::from_slice(&settings).unwrap();
    settings["base_model_name_or_path"] = base.into();
    fs::write(to.join("adapter_config.json"), settings.to_string()).unwrap();
}

pub fn edit(file: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    change(&mut value);
    fs::write(file, value.to_string()).unwrap();
}

pub fn error<T>(result: anyhow::Result<T>) -> String {
    match result {
        Ok(_) => panic!("this should be refused"),
        Err(error) => run::one_line(&error),
    }
}

/// From an adapter of PEFT each stage computes what it computes from the run that has the same
/// adapter: it is trained further, samples, is the reference and starts the reward model.
#[test]
fn every_stage_starts_from_an_adapter_of_peft() {
    let world = World::with_reward();
    peft(&world, "sft", "adapters/mine", "../../base"); // relative to the adapter
    let same = |a: &str, b: &str| {
        assert_eq!(world.metrics(a), world.metrics(b), "{a}, {b}");
        for result in ["adapter", "reward"] {
            let file = format!("{result}/adapter_model.safetensors");
            let [a, b] = [a, b].map(|run| fs::read(world.path(run).join(&file)).ok());
            assert!(a == b, "{file}");
        }
    };
    world.sft("again", "model.source=~/sft").unwrap();
    let mine = "model.source=~/adapters/mine";
    world.sft("mine", mine).unwrap();
    same("again", "mine");
    world.reward("rm-mine", mine).unwrap();
    same("rm", "rm-mine");
    let rl = "algorithm.name=ppo train.steps=3";
    world.rl("rl", rl).unwrap();
    let sets = format!("{rl} model.policy=~/adapters/mine model.reward=~/rm-mine");
    world.rl_by("rl-mine", &sets).unwrap();
    same("rl", "rl-mine");
    assert!(
        world
            .curve("rl-mine", "objective/kl")
            .iter()
            .any(|kl| *kl != 0.0)
    );
    // the run's own record of shape and base
    assert_eq!(world.settings("mine")["lora"]["r"].as_integer(), Some(4));
    let base = world.info("mine")["base"].as_str().unwrap().to_string();
    assert!(base.ends_with("adapters/mine/../../base"), "{base}");
    // and what begins from such a run finds the base again
    world.sft("third", "model.source=~/mine").unwrap();

    for (stage, key) in [
        ("sft", "model.source"),
        ("reward-model", "model.source"),
        ("esrl-rlhf", "model.policy"),
    ] {
        let sets = format!("{key}=~/adapters/mine algorithm.name=ppo model.template=alpaca");
        let sets = match stage {
            "esrl-rlhf" => sets,
            _ => sets.replace("algorithm.name=ppo", ""),
        };
        let by_run = sets.replace("~/adapters/mine", "~/sft");
        let plan = |sets: &str| {
            let mut memory = world.plan(stage, sets).unwrap()["memory"].clone();
            memory.as_object_mut().unwrap().remove("budget_gb"); // what is free now
            memory
        };
        assert_eq!(plan(&sets), plan(&by_run), "{stage}");
        assert!(plan(&sets).is_object(), "{stage}");
    }
    let own = world.sft("out", &format!("{mine} lora.r=6"));
    refused(
        &world,
        own,
        &["lora.r = 6 would not be used", "adapters/mine"],
    );
}

/// The commands that evaluate take an adapter of PEFT like the run that has the same.
#[test]
fn an_adapter_of_peft_is_evaluated_like_a_run() {
    let world = World::new();
    world.sft("sft", "").unwrap();
    peft(&world, "sft", "mine", &world.text("base"));
    let answer = |run: &str, base: Option<&str>| {
        answers(&AnswersConfig {
            questions: None,
            out: None,
            prompt: vec!["Copy this list: palm house.".into()],
            greedy: true,
            max_new_tokens: 8,
            base: base.map(|base| world.text(base)),
            ..AnswersConfig::new(&world.text(run), "".as_ref(), "".as_ref())
        })
    };
    let of_run = answer("sft", None).unwrap().printed;
    assert_eq!(answer("mine", None).unwrap().printed, of_run);
    assert_eq!(answer("mine", Some("base")).unwrap().printed, of_run);
    let scored = |run: &str| {
        let rows = tiny("demonstrations.json");
        score(&ScoreConfig {
            max_rows: Some(5),
            ..ScoreConfig::new(&world.text(run), rows.as_ref())
        })
    };
    assert_eq!(scored("mine").unwrap(), scored("sft").unwrap());
    for run in ["sft", "mine"] {
        let out = world.path(&format!("{run}-merged"));
        merge(&MergeConfig::new(&world.text(run), &out)).unwrap();
    }
    let weights = |run: &str| fs::read(world.path(&format!("{run}-merged/model.safetensors")));
    assert!(weights("sft").unwrap() == weights("mine").unwrap());

    let text = error(answer("base", Some("base")));
    assert!(
        text.contains("is not used: nothing that is given is an adapter"),
        "{text}"
    );
    fs::create_dir(world.path("reward")).unwrap();
    for file in ["adapter_config.json", "adapter_model.safetensors"] {
        fs::copy(
            world.path("mine").join(file),
            world.path("reward").join(file),
        )
        .unwrap();
    }
    world.write("reward/reward.json", "{}");
    let text = error(answer("reward", None));
    assert!(text.contains("is a reward model, not a policy"), "{text}");
}

/// An adapter and a base that do not belong together are refused by every stage and its plan.
#[test]
fn an_adapter_on_a_wrong_or_missing_base_is_refused() {
    let world = World::with_reward();
    world.model("other", 2); // the same shape, other numbers
    peft(&world, "sft", "mine", "../models/base");
    let wide = tokenizers::Tokenizer::from_file(tiny("base/tokenizer.json")).unwrap();
    let base = models::load(&ModelSource::Dir(world.path("base")), &Device::Cpu).unwrap();
    let config = Config {
        intermediate_size: 64,
        hidden_size: 64,
        head_dim: 16,
        ..base.model.config.clone()
    };
    fs::create_dir(world.path("wide")).unwrap();
    let model = CausalLm::init(&config, 1, &Device::Cpu).unwrap();
    let saved = model.save_hf(&world.path("wide"), &wide, &base.special, None);
    saved.unwrap();

    let both = |sets: &str| {
        let key = |key: &str| sets.replace("START", key);
        [
            key("model.source"),
            key("model.source"),
            key("model.policy"),
        ]
    };
    let check = |sets: &str, parts: &[&str]| {
        for (stage, sets) in STAGES.into_iter().zip(both(sets)) {
            refused(&world, stage(&world, "out", &sets), parts);
        }
    };
    let dir = world.text("mine");
    check(
        "START=~/mine",
        &[
            &format!("{dir} was trained on the base \"../models/base\", and there is none at "),
            &format!("nor at {dir}/../models/base"),
            "model.base (--base of the commands that evaluate)",
        ],
    );
    check(
        "START=~/mine model.base=~/nowhere",
        &["the base of ", "nowhere", "no such directory"],
    );
    let other_shape = "adapter_model.safetensors: tensor base_model.model.model.layers.0.self_attn";
    check(
        "START=~/mine model.base=~/wide",
        &[other_shape, "belongs to another base"],
    );
    for (name, sets) in ["sft", "reward-model", "esrl-rlhf"]
        .into_iter()
        .zip(both("START=~/mine model.base=~/wide"))
    {
        let rl = if name == "esrl-rlhf" {
            "algorithm.name=ppo"
        } else {
            ""
        };
        let text = error(world.plan(name, &format!("{sets} {rl}")));
        assert!(text.contains(other_shape), "{text}");
    }
    // ours know their base by its numbers
    check(
        "START=~/sft model.base=~/other",
        &["another base", "it was trained on"],
    );
    // and where the adapter's file has lost them, run.json knows
    world.copy("sft", "stripped");
    let weights = world.path("stripped/adapter/adapter_model.safetensors");
    let tensors = candle_core::safetensors::load(&weights, &Device::Cpu).unwrap();
    candle_core::safetensors::save(&tensors, &weights).unwrap();
    fs::remove_file(world.path("stripped/adapter/SHA256SUMS")).unwrap();
    check(
        "START=~/stripped model.base=~/other",
        &["other is not the base that ", "stripped was trained on"],
    );
    // a model needs no base
    check(
        "START=~/base model.base=~/other",
        &["is a model by itself, not an adapter; leave it out"],
    );
    check(
        "START=~/none model.base=~/other",
        &["none", "no such directory"],
    );
    edit(&world.path("mine/adapter_config.json"), |config| {
        config["base_model_name_or_path"] = Value::Null;
    });
    check(
        "START=~/mine",
        &["mine/adapter_config.json names no base", "model.base"],
    );
    edit(&world.path("mine/adapter_config.json"), |config| {
        config["base_model_name_or_path"] = "org/name".into();
        config["revision"] = "v2".into();
    });
    check(
        "START=~/mine",
        &["belongs to the revision v2 of org/name", "model.base"],
    );
    edit(&world.path("mine/adapter_config.json"), |config| {
        config["use_dora"] = true.into();
    });
    check(
        "START=~/mine model.base=~/base",
        &["mine/adapter_config.json: use_dora = true is not supported; merge it into its base"],
    );
}

/// An adapter in the model's own directory: what transformers would apply, nothing here ignores.
#[test]
fn an_adapter_in_the_directory_of_the_model_is_noticed_everywhere() {
    let world = World::with_reward();
    for file in ["adapter_config.json", "adapter_model.safetensors"] {
        let from = world.path("sft/adapter").join(file);
        fs::copy(from, world.path("base").join(file)).unwrap();
    }
    let says = [
        "beside the model there is an adapter_config.json",
        "model.base",
    ];
    let keys = [
        "model.source=~/base",
        "model.source=~/base",
        "model.policy=~/base",
    ];
    for (stage, sets) in STAGES.into_iter().zip(keys) {
        refused(&world, stage(&world, "out", sets), &says);
    }
    for (stage, sets) in ["sft", "reward-model", "esrl-rlhf"].into_iter().zip(keys) {
        let rl = if stage == "esrl-rlhf" {
            "algorithm.name=ppo"
        } else {
            ""
        };
        let text = error(world.plan(stage, &format!("{sets} {rl}")));
        assert!(says.iter().all(|part| text.contains(part)), "{text}");
    }
    let text = error(answers(&AnswersConfig {
        questions: None,
        out: None,
        prompt: vec!["Hello".into()],
        ..AnswersConfig::new(&world.text("base"), "".as_ref(), "".as_ref())
    }));
    assert!(says.iter().all(|part| text.contains(part)), "{text}");
    // a config.json without weights beside an adapter, as some trainers save it
    fs::create_dir(world.path("saved")).unwrap();
    for file in [
        "config.json",
        "adapter_config.json",
        "adapter_model.safetensors",
    ] {
        fs::copy(
            world.path("base").join(file),
            world.path("saved").join(file),
        )
        .unwrap();
    }
    fs::rename(world.path("base/adapter_config.json"), world.path("aside")).unwrap();
    world.sft("from-saved", "model.source=~/saved").unwrap();
}
