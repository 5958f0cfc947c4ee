//! A directory with a tiny random base model, in which the stages run as from the command line.

use crate::common::tiny_config;
use anyhow::Result;
use candle_core::{Device, Tensor};
use models::{CausalLm, SpecialTokens};
use planning::Plan;
use run::{MetricsRow, PlanArgs, RunArgs};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

pub struct World {
    dir: tempfile::TempDir,
}

/// A file of the shipped tiny world.
pub fn tiny(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/tiny");
    root.join(name).to_str().unwrap().to_string()
}

/// The sets with the reward model `~/rm`, where something reads it.
fn with_reward(sets: &str) -> String {
    let has = |word: &str| sets.contains(word);
    let critic = (has("name=ppo") || has("name=ma_ppo")) && !has("critic_init=zero");
    match has("rewards=[") && !has("kind=\"model\"") && !critic {
        true => sets.to_string(),
        false => format!("model.reward=~/rm {sets}"),
    }
}

impl World {
    pub fn new() -> Self {
        let world = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        world.model("base", 1);
        world
    }

    /// A random model with the tiny world's tokenizer.
    pub fn model(&self, name: &str, seed: u64) {
        let tokenizer = tokenizers::Tokenizer::from_file(tiny("base/tokenizer.json")).unwrap();
        let config = tiny_config(json!({
            "vocab_size": tokenizer.get_vocab_size(true), "hidden_size": 32, "intermediate_size": 48,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128
        }));
        let special = SpecialTokens {
            bos: Some((1, "<s>".into())),
            eos: vec![(2, "</s>".into())],
            add_bos: true,
        };
        fs::create_dir(self.path(name)).unwrap();
        let model = CausalLm::init(&config, seed, &Device::Cpu).unwrap();
        model
            .save_hf(&self.path(name), &tokenizer, &special, None)
            .unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_string()
    }

    pub fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.text(name)
    }

    /// The arguments of a stage. `sets` are those of `--set`, separated by blanks; `~/` at the
    /// start of a value is this directory. The last of equal keys counts. The word `resume` is
    /// `--resume`.
    ///
    /// Defaults that the sets make unused are left out.
    fn args(&self, run: &str, defaults: &str, sets: &str) -> RunArgs {
        let folder = format!("={}/", self.dir.path().to_str().unwrap());
        let has = |word: &str| sets.contains(word);
        let critic = ["name=ppo", "name=ma_ppo", "mode=released"]
            .into_iter()
            .any(has);
        let unused = |word: &&str| {
            (word.starts_with("data.held_out") && has("data.eval_path="))
                || (word.starts_with("lora.") && has("method=full"))
                || (word.starts_with("model.source") && has("model.random="))
                || (word.starts_with("samples.max") && has("samples.n=0"))
                || (word.starts_with("train.critic.") && !critic)
        };
        let defaults = defaults.split_whitespace().filter(|word| !unused(word));
        let words = defaults.chain(sets.split_whitespace());
        let (resume, sets): (Vec<_>, Vec<_>) = words.partition(|word| *word == "resume");
        RunArgs {
            config: None,
            sets: sets.iter().map(|s| s.replace("=~/", &folder)).collect(),
            run: Some(self.path(run)),
            resume: !resume.is_empty(),
            verify_resume: None,
        }
    }

    pub fn sft(&self, run: &str, sets: &str) -> Result<()> {
        let args = self.sft_args(run, sets);
        let config: sft::Config = run::load_config(None, &args.sets)?;
        config.check()?;
        sft::run(&args, &config)
    }

    pub fn sft_args(&self, run: &str, sets: &str) -> RunArgs {
        let data = tiny("demonstrations.json");
        let defaults = format!(
            "model.source=~/base model.template=alpaca lora.r=4 lora.alpha=8 lora.targets=[\"q_proj\",\"v_proj\"] data.path={data} \
             data.max_rows=30 data.held_out=0.2 data.max_len=96 samples.n=2 samples.max_new_tokens=6 \
             train.max_steps=4 train.batch_size=4 train.log_every=1 train.eval_every=2 \
             train.sample_every=2 train.save_every=2 {}",
            optimizer("train.optimizer")
        );
        self.args(run, &defaults, sets)
    }

    pub fn reward(&self, run: &str, sets: &str) -> Result<()> {
        let args = self.reward_args(run, sets);
        let config: reward_model::Config = run::load_config(None, &args.sets)?;
        config.check()?;
        reward_model::run(&args, &config)
    }

    pub fn reward_args(&self, run: &str, sets: &str) -> RunArgs {
        let data = tiny("comparisons.json");
        let defaults = format!(
            "model.source=~/sft data.path={data} data.max_rows=30 data.held_out=0.2 data.max_len=96 \
             reward.normalisation_samples=4 reward.normalisation_max_new_tokens=6 \
             train.max_steps=4 train.batch_size=4 train.log_every=1 train.eval_every=2 \
             train.sample_every=2 train.save_every=2 {}",
            optimizer("train.optimizer")
        );
        self.args(run, &defaults, sets)
    }

    pub fn rl(&self, run: &str, sets: &str) -> Result<()> {
        self.rl_by(run, &with_reward(sets))
    }

    /// RL without a reward model, unless `sets` name one.
    pub fn rl_by(&self, run: &str, sets: &str) -> Result<()> {
        let args = self.rl_args(run, sets);
        let config: esrl_rlhf::Config = run::load_config(None, &args.sets)?;
        config.check()?;
        esrl_rlhf::run(&args, &config)
    }

    /// The plan of `sft`, `reward-model` or `esrl-rlhf` as JSON.
    pub fn plan(&self, stage: &str, sets: &str) -> Result<Value> {
        Ok(self.plan_record(stage, sets)?.json())
    }

    pub fn plan_record(&self, stage: &str, sets: &str) -> Result<Plan> {
        let args = match stage {
            "sft" => self.sft_args("out", sets),
            "reward-model" => self.reward_args("out", sets),
            _ => self.rl_args("out", &with_reward(sets)),
        };
        plan_of(stage, None, args.sets, args.run)
    }

    pub fn rl_args(&self, run: &str, sets: &str) -> RunArgs {
        let data = tiny("prompts.json");
        let defaults = format!(
            "model.policy=~/sft data.path={data} data.max_rows=30 data.held_out=0.1 \
             data.max_prompt_len=64 rollout.prompts=4 rollout.max_new_tokens=8 train.steps=4 \
             train.eval_every=2 train.eval_prompts=3 train.sample_every=1 train.save_every=2 {} {}",
            optimizer("train.policy"),
            optimizer("train.critic")
        );
        self.args(run, &defaults, sets)
    }

    /// A world with a base, an sft run and a reward-model run.
    pub fn with_reward() -> Self {
        let world = Self::new();
        world.sft("sft", "").unwrap();
        world.reward("rm", "").unwrap();
        world
    }

    /// The content of run.json.
    pub fn info(&self, run: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(run).join("run.json")).unwrap()).unwrap()
    }

    /// Removes the hashes from run.json: a run of an older version, or one changed by hand.
    pub fn forget_sums(&self, run: &str) {
        let mut info = self.info(run);
        for key in ["sha256", "files", "used"] {
            info.as_object_mut().unwrap().remove(key);
        }
        fs::write(self.path(run).join("run.json"), info.to_string()).unwrap();
    }

    pub fn settings(&self, run: &str) -> toml::Table {
        let text = fs::read_to_string(self.path(run).join("config.toml")).unwrap();
        text.parse().unwrap()
    }

    /// The rows of metrics.jsonl, without timings.
    pub fn metrics(&self, run: &str) -> Vec<MetricsRow> {
        let mut rows = run::read_metrics(&self.path(run)).unwrap();
        for row in &mut rows {
            row.secs = 0.0;
            row.metrics
                .retain(|name, _| !name.starts_with("time/") && !name.ends_with("tokens_per_sec"));
        }
        rows
    }

    /// The values of a metric over the steps that log it, at least one.
    pub fn curve(&self, run: &str, name: &str) -> Vec<f64> {
        let rows = self.metrics(run);
        let found: Vec<f64> = rows
            .iter()
            .filter_map(|r| r.metrics.get(name).copied())
            .collect();
        assert!(!found.is_empty(), "{run} logs no {name}");
        found
    }

    /// All metrics of a step, from all its rows.
    pub fn at(&self, run: &str, step: u64) -> BTreeMap<String, f64> {
        let rows = self.metrics(run).into_iter().filter(|r| r.step == step);
        rows.flat_map(|r| r.metrics).collect()
    }

    /// The trainable tensors of a checkpoint.
    pub fn params(&self, run: &str, step: u64) -> HashMap<String, Tensor> {
        let file = format!("{run}/checkpoints/step-{step:06}/params.safetensors");
        candle_core::safetensors::load(self.path(&file), &Device::Cpu).unwrap()
    }

    /// Copies a run directory to another name.
    pub fn copy(&self, from: &str, to: &str) {
        copy(&self.path(from), &self.path(to));
    }

    /// The files of a run whose bytes depend on neither time nor the name of the run.
    pub fn content(&self, run: &str) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        for name in ["adapter", "best", "reward", "model", "samples"] {
            files(&self.path(run).join(name), name, &mut found);
        }
        let metrics = self.path(run).join("metrics.jsonl");
        found.insert("metrics.jsonl".into(), fs::read(metrics).unwrap());
        for (name, bytes) in checkpoints(&self.path(run)) {
            found.insert(name, bytes);
        }
        found
    }
}

/// A stage's plan for these settings as JSON.
pub fn plan_by(
    stage: &str,
    config: Option<&Path>,
    sets: Vec<String>,
    run: Option<PathBuf>,
) -> Result<Value> {
    Ok(plan_of(stage, config, sets, run)?.json())
}

fn plan_of(
    stage: &str,
    config: Option<&Path>,
    sets: Vec<String>,
    run: Option<PathBuf>,
) -> Result<Plan> {
    let args = PlanArgs {
        config: config.map(Path::to_path_buf),
        sets,
        run,
        ..PlanArgs::default()
    };
    match stage {
        "sft" => {
            let config: sft::Config = args.load_config(sft::Config::check)?;
            sft::plan(&args, &config)
        }
        "reward-model" => {
            let config: reward_model::Config = args.load_config(reward_model::Config::check)?;
            reward_model::plan(&args, &config)
        }
        _ => {
            let config: esrl_rlhf::Config = args.load_config(esrl_rlhf::Config::check)?;
            esrl_rlhf::plan(&args, &config)
        }
    }
}

fn optimizer(section: &str) -> String {
    format!("{section}.lr=1e-2 {section}.schedule=constant {section}.warmup_ratio=0")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn files(dir: &Path, name: &str, found: &mut BTreeMap<String, Vec<u8>>) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries {
        let entry = entry.unwrap();
        let name = format!("{name}/{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            files(&entry.path(), &name, found);
        } else {
            found.insert(name, fs::read(entry.path()).unwrap());
        }
    }
}

/// The tensors of all checkpoints, and their states without times.
fn checkpoints(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    files(&run.join("checkpoints"), "checkpoints", &mut found);
    // they are the sums of states with times in them
    found.retain(|name, _| !name.ends_with("SHA256SUMS"));
    for (name, bytes) in &mut found {
        if name.ends_with("state.json") {
            let mut state: Value = serde_json::from_slice(bytes).unwrap();
            forget_time(&mut state);
            *bytes = state.to_string().into_bytes();
        }
    }
    found
}

fn forget_time(value: &mut Value) {
    if let Value::Object(map) = value {
        map.retain(|key, _| key != "secs" && !key.starts_with("time/"));
        map.values_mut().for_each(forget_time);
    }
}
