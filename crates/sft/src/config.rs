//! The settings of an sft run (`configs/*/sft.toml`).

use data::{Format, Only, TooLong};
use models::{BaseWeights, LoraConfig};
use planning::memory::MemoryConfig;
use policy::TemplateChoice;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use train::FitConfig;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub model: ModelConfig,
    /// `lora`: an adapter on the frozen base. `full`: every weight.
    #[serde(default)]
    pub method: Method,
    /// Used when `model.source` brings no adapter of its own.
    #[serde(default)]
    pub lora: LoraConfig,
    pub data: DataConfig,
    #[serde(default)]
    pub train: FitConfig,
    #[serde(default)]
    pub samples: SamplesConfig,
    /// `cpu`, `cuda` or `cuda:N`
    #[serde(default = "policy::cpu")]
    pub device: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Hugging Face directory, GGUF file, hub id, or the run directory of an earlier sft
    #[serde(default)]
    pub source: String,
    /// Directory with config.json and tokenizer.json: start from random weights of that shape
    /// instead of `source`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random: Option<PathBuf>,
    /// What the frozen projections are kept in: `stored`, `q8_0`, `q4_0`, `q4_k`. Default: as the
    /// earlier run keeps them, else `stored`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<BaseWeights>,
    /// `auto` (the model's own chat template, else Alpaca), `alpaca`, `chat`, `raw`
    #[serde(default = "alpaca")]
    pub template: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    #[default]
    Lora,
    Full,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    pub path: PathBuf,
    #[serde(default)]
    pub format: Format,
    /// Rows for held-out loss; without it a share of `path` is held out
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval_path: Option<PathBuf>,
    /// Share of prompts held out when there is no `eval_path`
    #[serde(default = "held_out")]
    pub held_out: f64,
    /// Tokens of prompt + response + EOS
    #[serde(default = "max_len")]
    pub max_len: usize,
    /// What happens to longer rows: `drop` (counted), `truncate_response`, `error`
    #[serde(default)]
    pub too_long: TooLong,
    /// Take only the rows whose instruction this regular expression is found in; the others are
    /// counted
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Only>,
    /// Use the first rows only
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rows: Option<usize>,
}

/// Completions written into `samples/` while training.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplesConfig {
    pub n: usize,
    pub max_new_tokens: usize,
}

impl Default for SamplesConfig {
    fn default() -> Self {
        Self {
            n: 4,
            max_new_tokens: 64,
        }
    }
}

fn alpaca() -> String {
    "alpaca".into()
}
fn held_out() -> f64 {
    0.05
}
fn max_len() -> usize {
    512
}

impl Config {
    /// Refuses values that cannot work, before anything is read.
    pub fn check(&self) -> anyhow::Result<()> {
        use anyhow::ensure;
        self.template()?;
        policy::DeviceChoice::parse(&self.device)?;
        ensure!(
            self.model.random.is_some() || !self.model.source.is_empty(),
            "model.source is missing: a Hugging Face directory, a GGUF file, a hub id or an earlier run"
        );
        let rounded = self.model.weights.filter(|w| *w != BaseWeights::Stored);
        ensure!(
            rounded.is_none() || (self.method == Method::Lora && self.model.random.is_none()),
            "model.weights rounds a base that stands still, and method = \"full\" trains every weight; leave one of them out"
        );
        ensure!(
            self.data.max_len >= 2,
            "data.max_len = {} leaves no room for a response",
            self.data.max_len
        );
        ensure!(
            self.samples.n == 0 || self.samples.max_new_tokens > 0,
            "samples.max_new_tokens = 0: an answer needs a token; samples.n = 0 writes none"
        );
        policy::check_data(self.data.held_out, self.data.max_rows)?;
        self.memory().check()?;
        self.train.check()
    }

    pub(crate) fn memory(&self) -> MemoryConfig {
        MemoryConfig {
            memory_gb: self.train.memory_gb,
            checkpoint_blocks: self.train.checkpoint_blocks,
        }
    }

    pub(crate) fn template(&self) -> anyhow::Result<TemplateChoice> {
        TemplateChoice::parse(&self.model.template)
    }
}
