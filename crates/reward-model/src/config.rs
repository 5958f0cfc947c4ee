//! The settings of a reward-model run (`configs/*/rm.toml`).

use anyhow::{Result, ensure};
use data::{Format, TooLong};
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
    /// Used when `model.source` brings no adapter to begin from
    #[serde(default)]
    pub lora: LoraConfig,
    pub data: DataConfig,
    #[serde(default)]
    pub reward: RewardConfig,
    #[serde(default)]
    pub train: FitConfig,
    /// `cpu`, `cuda` or `cuda:N`
    #[serde(default = "policy::cpu")]
    pub device: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// The sft run that the policy will start from (its adapter is where the reward adapter
    /// begins), or a plain model
    pub source: String,
    /// What the frozen projections are kept in: `stored`, `q8_0`, `q4_0`, `q4_k`. Default: as the
    /// earlier run keeps them, else `stored`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<BaseWeights>,
    /// How a plain model is prompted: `auto`, `alpaca`, `chat`, `raw` (a run brings its own
    /// template)
    #[serde(default = "policy::auto")]
    pub template: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    pub path: PathBuf,
    #[serde(default)]
    pub format: Format,
    /// Pairs for held-out accuracy; without it a share of the prompts of `path` is held out
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval_path: Option<PathBuf>,
    /// Share of prompts (never rows) held out when there is no `eval_path`
    #[serde(default = "held_out")]
    pub held_out: f64,
    /// Tokens of prompt + answer + EOS
    #[serde(default = "max_len")]
    pub max_len: usize,
    /// What happens to pairs with a longer answer: `drop` (counted), `truncate_response`, `error`
    #[serde(default)]
    pub too_long: TooLong,
    /// Use the first pairs only (before the split)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rows: Option<usize>,
    /// Held-out pairs per evaluation
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_eval_rows: Option<usize>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RewardConfig {
    /// Adds `c · mean((r_w + r_l)²)` to the loss, which keeps scores around zero (0 = off)
    pub center_coefficient: f64,
    /// Samples of the source policy on held-out prompts whose mean and variance normalise the
    /// reward
    pub normalisation_samples: usize,
    pub normalisation_max_new_tokens: usize,
    /// Rows decoded together for them
    pub max_rows: usize,
}

impl Default for RewardConfig {
    fn default() -> Self {
        Self {
            center_coefficient: 0.0,
            normalisation_samples: 64,
            normalisation_max_new_tokens: 128,
            max_rows: 16,
        }
    }
}

fn held_out() -> f64 {
    0.1
}
fn max_len() -> usize {
    512
}

impl Config {
    /// Refuses values that cannot work, before anything is read.
    pub fn check(&self) -> Result<()> {
        let (d, r) = (&self.data, &self.reward);
        TemplateChoice::parse(&self.model.template)?;
        policy::DeviceChoice::parse(&self.device)?;
        policy::check_data(d.held_out, d.max_rows)?;
        ensure!(
            d.max_len >= 2,
            "data.max_len = {} leaves no room for an answer",
            d.max_len
        );
        ensure!(
            r.center_coefficient >= 0.0,
            "reward.center_coefficient = {} is negative",
            r.center_coefficient
        );
        ensure!(
            r.normalisation_samples >= 2,
            "reward.normalisation_samples = {}: a variance needs two",
            r.normalisation_samples
        );
        ensure!(
            r.max_rows > 0,
            "reward.max_rows = 0: nothing could be decoded"
        );
        self.memory().check()?;
        self.train.check()
    }

    pub(crate) fn memory(&self) -> MemoryConfig {
        MemoryConfig {
            memory_gb: self.train.memory_gb,
            checkpoint_blocks: self.train.checkpoint_blocks,
        }
    }
}
