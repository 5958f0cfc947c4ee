//! The settings of an sft run (`configs/*/sft.toml`).

use anyhow::{Result, ensure};
use data::RowsConfig;
use models::{BaseWeights, LoraConfig};
use ops::Compute;
use policy::{OwnSettings, TemplateChoice};
use run::UnusedSettings;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use train::FitConfig;

/// Default of `data.held_out`, percent.
const HELD_OUT: u8 = 5;

/// The settings of an sft run.
///
/// ```
/// let sets = ["model.source=models/base", "data.path=rows.json"].map(String::from);
/// let config: sft::Config = run::load_config(None, &sets)?;
/// config.check()?;
/// assert_eq!((config.data.held_out, config.data.max_len), (0.05, 512));
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub model: ModelConfig,
    /// `lora`: an adapter on the frozen base; `full`: every weight
    #[serde(default)]
    pub method: Method,
    /// Used if `model.source` has no adapter of its own
    #[serde(default)]
    pub lora: LoraConfig,
    pub data: RowsConfig<HELD_OUT>,
    #[serde(default)]
    pub train: FitConfig,
    #[serde(default)]
    pub samples: SamplesConfig,
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
    /// Hugging Face directory, GGUF file, hub id, adapter of PEFT, or the run directory of an
    /// earlier sft
    #[serde(default)]
    pub source: String,
    /// Where the base of a run or adapter is, if not where that says; its numbers must be the same
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
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
    /// The time that a chat template prints, such as `2026-11-30`. Default: that of the run it
    /// starts from, else the time when the run begins
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "policy::template_date"
    )]
    pub template_date: Option<String>,
}

/// Which weights are trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    #[default]
    Lora,
    Full,
}

/// Completions of held-out prompts, written into `samples/` during training.
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

/// Whether the settings of a command have `model.template`.
pub(crate) fn template_is_given(file: Option<&Path>, sets: &[String]) -> Result<bool> {
    let settings = run::settings_table(file, sets)?;
    let model = settings.get("model");
    Ok(model.is_some_and(|model| model.get("template").is_some()))
}

impl Config {
    /// Checks the values, before anything is read.
    pub fn check(&self) -> Result<()> {
        self.template()?;
        policy::check_template_date(self.model.template_date.as_deref())?;
        policy::DeviceChoice::parse(&self.device)?;
        policy::check_compute(self.compute, &self.device)?;
        ensure!(
            self.compute == Compute::F32 || self.method == Method::Lora,
            "compute = \"int16\" is for frozen weights, but method = \"full\" trains every weight; leave one of them out"
        );
        ensure!(
            self.model.random.is_some() || !self.model.source.is_empty(),
            "model.source is missing: a Hugging Face directory, a GGUF file, a hub id, an adapter or an earlier run"
        );
        let rounded = self.model.weights.filter(|w| *w != BaseWeights::Stored);
        ensure!(
            rounded.is_none() || (self.method == Method::Lora && self.model.random.is_none()),
            "model.weights quantises a frozen base, but method = \"full\" trains every weight; leave one of them out"
        );
        self.data.check()?;
        ensure!(
            self.samples.n == 0 || self.samples.max_new_tokens > 0,
            "samples.max_new_tokens = 0; it must be at least 1 (samples.n = 0 writes no samples)"
        );
        planning::check_limits(self.train.memory_gb, self.train.checkpoint_blocks)?;
        self.train.check()
    }

    /// Refuses settings that nothing reads; on `resume`, says so. `own`: what the source brings.
    pub(crate) fn refuse_unused(&self, own: &OwnSettings, resume: bool) -> Result<()> {
        let minimal = "model = {}\ndata = { path = \"\" }".parse()?;
        let defaults: Self = run::from_table(&minimal, "")?;
        let mut unused = UnusedSettings::new(self, &defaults)?;
        let full = self.method == Method::Full;
        unused.check("lora", full, "method = \"full\" trains every weight");
        let random = self.model.random.is_some();
        let why = "model.random starts from random weights instead";
        unused.check("model.source", random, why);
        unused.check("model.base", random, why);
        let given = self.data.eval_path.is_some();
        unused.check("data.held_out", given, data::EVAL_PATH_INSTEAD);
        let none = self.samples.n == 0;
        unused.check(
            "samples.max_new_tokens",
            none,
            "samples.n = 0 writes no samples",
        );
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

    pub(crate) fn template(&self) -> Result<TemplateChoice> {
        TemplateChoice::parse(&self.model.template)
    }
}
