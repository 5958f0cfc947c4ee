//! A directory with a small random model that uses the tiny world's tokenizer, and runs of it as
//! the training stages write them.

use crate::common::tiny_config;
use candle_core::{Device, Tensor};
use data::{Ask, Prompt, Template};
use models::{CausalLm, Lora, LoraConfig, ScalarHead, SpecialTokens};
use policy::{Policy, TemplateChoice};
use rewards::RewardModel;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub const CONTEXT: usize = 96;

/// A directory with a random base and, created on demand, runs of it.
pub struct World {
    pub dir: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        let world = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let tokenizer =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/tiny/base/tokenizer.json");
        let tokenizer = tokenizers::Tokenizer::from_file(tokenizer).unwrap();
        let config = tiny_config(json!({
            "vocab_size": tokenizer.get_vocab_size(true), "hidden_size": 16, "intermediate_size": 32,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": CONTEXT
        }));
        let special = SpecialTokens {
            bos: Some((1, "<s>".into())),
            eos: vec![(2, "</s>".into())],
            add_bos: true,
        };
        std::fs::create_dir(world.base()).unwrap();
        let model = CausalLm::init(&config, 1, &Device::Cpu).unwrap();
        model
            .save_hf(&world.base(), &tokenizer, &special, None)
            .unwrap();
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_string()
    }

    pub fn base(&self) -> PathBuf {
        self.path("base")
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    pub fn policy(&self, text: &str) -> Policy {
        Policy::open(text, TemplateChoice::Alpaca, &Device::Cpu).unwrap()
    }

    /// An adapter whose tensors are all random, so that it changes the model.
    pub fn adapter(&self, model: &CausalLm, seed: u64) -> Lora {
        let lora = Lora::init(
            &LoraConfig {
                r: 4,
                ..LoraConfig::default()
            },
            model,
            seed,
        )
        .unwrap()
        .trainable()
        .unwrap();
        for (i, (_, var)) in lora.vars().iter().enumerate() {
            let n = var.elem_count();
            let value = |j: usize| 0.2 * ((1 + i + j * 7 + 13 * seed as usize) as f32).sin();
            let tensor = Tensor::from_vec(
                (0..n).map(value).collect::<Vec<_>>(),
                var.shape(),
                &Device::Cpu,
            )
            .unwrap();
            var.set(&tensor).unwrap();
        }
        lora.frozen()
    }

    /// A run directory as the training stages write them.
    pub fn run(&self, name: &str, stage: &str, facts: &[(&str, Value)]) -> run::Run {
        let config = json!({"rollout": {"temperature": 0.8, "max_new_tokens": 12}});
        let mut run = run::Run::create(&self.path(name), stage, &config).unwrap();
        let base = policy::load_base(&self.text("base"), &Device::Cpu).unwrap();
        policy::write_identity(&mut run, &base, &Template::Alpaca).unwrap();
        for (key, value) in facts {
            run.record(key, value.clone()).unwrap();
        }
        run
    }

    pub fn policy_run(&self, name: &str, stage: &str, seed: u64, facts: &[(&str, Value)]) {
        let mut run = self.run(name, stage, facts);
        let base = self.policy(&self.text("base"));
        let adapter = self.adapter(base.model(), seed);
        run.replace_dir("adapter", |dir| Ok(adapter.save(dir, &self.text("base"))?))
            .unwrap();
        run.finish(&BTreeMap::from([("samples_drawn".to_string(), 40.0)]))
            .unwrap();
    }

    pub fn sft(&self, name: &str, seed: u64) {
        self.policy_run(name, "sft", seed, &[]);
    }

    pub fn rl(&self, name: &str, seed: u64, reference: &str, reward: &str) {
        let facts = [
            ("reference", json!(self.text(reference))),
            ("reward", json!(self.text(reward))),
            ("algorithm", json!({"name": "esrl"})),
        ];
        self.policy_run(name, "esrl-rlhf", seed, &facts);
        let held_out: Vec<Prompt> = [
            "Copy this list: cello boot.",
            "Reverse these words: palm house.",
            "Copy this list: pine shirt.",
        ]
        .map(|text| Prompt::new(Ask::instruction(text), None))
        .to_vec();
        self.write(
            &format!("{name}/heldout.json"),
            &serde_json::to_string(&held_out).unwrap(),
        );
    }

    pub fn reward(&self, name: &str) {
        let mut run = self.run(name, "reward-model", &[]);
        let policy = self.policy(&self.text("base"));
        let model = policy.model();
        let head = ScalarHead::init(16, 1.0, 3, &Device::Cpu).unwrap();
        let ends = policy.encoder.ends().clone();
        let reward = RewardModel::new(
            model,
            self.adapter(model, 9),
            head,
            Template::Alpaca,
            ends,
            &self.text("base"),
        );
        let reward = reward
            .unwrap()
            .calibrated(
                model,
                &[vec![1, 5, 9], vec![1, 7, 7, 2]],
                vec![vec![1, 30, 40]],
            )
            .unwrap();
        run.replace_dir(
            "reward",
            |dir| Ok(reward.save(dir, &policy.base.tokenizer)?),
        )
        .unwrap();
        run.finish(&BTreeMap::new()).unwrap();
    }

    /// Three questions, the last of which does not fit the context.
    pub fn questions(&self) -> PathBuf {
        let long = "word ".repeat(2 * CONTEXT);
        let row = |id: usize, category: &str, text: &str| {
            json!({"question_id": id, "category": category, "text": text}).to_string() + "\n"
        };
        let text = row(1, "math", "Copy this list: cello boot.")
            + &row(2, "writing", "Reverse these words: palm house.")
            + &row(3, "generic", &long);
        self.write("questions.jsonl", &text)
    }
}

#[track_caller]
pub fn refused<T>(result: anyhow::Result<T>, expected: &str) {
    let error = match result {
        Ok(_) => panic!("accepted; expected an error with {expected:?}"),
        Err(error) => run::one_line(&error),
    };
    assert!(error.contains(expected), "{error}");
    assert!(!error.contains('\n'), "{error}");
}
