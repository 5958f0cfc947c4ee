//! The settings of a reward-model run (`configs/*/rm.toml`).

use anyhow::{Result, ensure};
use data::RowsConfig;
use models::{BaseWeights, LoraConfig};
use ops::Compute;
use policy::{OwnSettings, TemplateChoice};
use run::UnusedSettings;
use serde::{Deserialize, Serialize};
use train::FitConfig;

/// Default of `data.held_out`, percent.
const HELD_OUT: u8 = 10;

/// The settings of a reward-model run.
///
/// ```
/// let sets = ["model.source=runs/sft", "data.path=pairs.json", "reward.max_rows=8"];
/// let config: reward_model::Config = run::load_config(None, &sets.map(String::from))?;
/// config.check()?;
/// assert_eq!((config.data.held_out, config.reward.max_rows), (0.1, 8));
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub model: ModelConfig,
    /// Used if `model.source` has no adapter to start from
    #[serde(default)]
    pub lora: LoraConfig,
    pub data: RowsConfig<HELD_OUT>,
    #[serde(default)]
    pub reward: RewardConfig,
    #[serde(default)]
    pub train: FitConfig,
    /// `cpu`, `cuda` or `cuda:N`
    #[serde(default = "policy::default_device")]
    pub device: String,
    /// The arithmetic of products with frozen weights on the CPU
    #[serde(default)]
    pub compute: Compute,
}

/// The model to train.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// The sft run that the policy will start from (its adapter is where the reward adapter
    /// begins), an adapter of PEFT, or a plain model
    pub source: String,
    /// Where the base of a run or adapter is, if not where that says; its numbers must be the same
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// What the frozen projections are kept in: `stored`, `q8_0`, `q4_0`, `q4_k`. Default: as the
    /// earlier run keeps them, else `stored`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<BaseWeights>,
    /// How a plain model is prompted: `auto`, `alpaca`, `chat`, `raw` (a run brings its own
    /// template)
    #[serde(default = "policy::default_template")]
    pub template: String,
    /// The time that a chat template prints, such as `2026-11-30`. Default: that of the run it
    /// starts from, else the time when the run begins
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "policy::template_date"
    )]
    pub template_date: Option<String>,
}

/// The loss, and the samples that normalise the reward.
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

impl Config {
    /// Checks the values, before anything is read.
    pub fn check(&self) -> Result<()> {
        let (d, r) = (&self.data, &self.reward);
        TemplateChoice::parse(&self.model.template)?;
        policy::check_template_date(self.model.template_date.as_deref())?;
        policy::DeviceChoice::parse(&self.device)?;
        policy::check_compute(self.compute, &self.device)?;
        d.check()?;
        ensure!(
            d.held_out > 0.0 || d.eval_path.is_some(),
            "no pair is held out; raise data.held_out or give data.eval_path"
        );
        ensure!(
            r.center_coefficient >= 0.0,
            "reward.center_coefficient = {} is negative",
            r.center_coefficient
        );
        ensure!(
            r.normalisation_samples >= 2,
            "reward.normalisation_samples = {}; a variance needs at least 2",
            r.normalisation_samples
        );
        ensure!(
            r.normalisation_max_new_tokens > 0,
            "reward.normalisation_max_new_tokens = 0; it must be at least 1"
        );
        ensure!(r.max_rows > 0, "reward.max_rows = 0; it must be at least 1");
        planning::check_limits(self.train.memory_gb, self.train.checkpoint_blocks)?;
        self.train.check()
    }

    /// Refuses settings that nothing reads; on `resume`, says so. `own`: what the source brings.
    pub(crate) fn refuse_unused(&self, own: &OwnSettings, resume: bool) -> Result<()> {
        let minimal = "model = { source = \"\" }\ndata = { path = \"\" }".parse()?;
        let defaults: Self = run::from_table(&minimal, "")?;
        let mut unused = UnusedSettings::new(self, &defaults)?;
        let given = self.data.eval_path.is_some();
        unused.check("data.held_out", given, data::EVAL_PATH_INSTEAD);
        let why = "of two conversations the last answers are compared";
        unused.check("data.train_on", true, why);
        let template = (
            self.model.template.as_str(),
            defaults.model.template.as_str(),
        );
        own.note_unused(template, &self.lora, &mut unused)?;
        unused.refuse_or_report(resume)
    }

    /// The settings with what the source brings in place of what was given.
    pub(crate) fn in_use(mut self, own: &OwnSettings) -> Self {
        own.put_into(&mut self.model.template, &mut self.lora);
        self
    }
}
