//! Finds the parts of a policy on disk: its base, its adapter and its template.

use crate::recorded::base_of_run;
use crate::template::saved_template;
use anyhow::{Context, Result, bail};
use data::Template;
use models::BaseWeights;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The parts of a policy.
pub(crate) struct PolicySource {
    /// Of the run or of the model, for tables
    pub name: String,
    /// The text that the base is opened by
    pub base: String,
    pub adapter_dir: Option<PathBuf>,
    /// The format of the base's projections that the adapter was trained on
    pub weights: Option<BaseWeights>,
    /// The template of the run. None: a plain model
    pub template: Option<Template>,
}

impl PolicySource {
    /// A plain model.
    pub fn model(text: &str) -> Self {
        Self {
            name: text.trim_end_matches('/').to_string(),
            base: text.to_string(),
            adapter_dir: None,
            weights: None,
            template: None,
        }
    }

    /// `text`: a run directory of sft or esrl-rlhf, an adapter in it (`RUN/best`), or a model.
    ///
    /// # Errors
    /// If it is incomplete or damaged; results and merged models have checksums.
    pub fn find(text: &str) -> Result<Self> {
        let given = Path::new(text);
        let (dir, adapter_dir) = run_and_adapter(given);
        let Some(run) = run::open_saved_run(dir)? else {
            run::check_sums(given)?;
            return Ok(Self::model(text));
        };
        run.warn_if_unfinished();
        let file_name = |path: &Path| path.file_name().map(|n| n.to_string_lossy().into_owned());
        let mut name = file_name(dir).unwrap_or_else(|| text.to_string());
        if given != dir {
            name = format!("{name}-{}", file_name(given).unwrap_or_default());
        }
        let full = dir.join("model");
        let base = if full.is_dir() {
            full.to_string_lossy().into_owned()
        } else if adapter_dir.is_dir() {
            base_of_run(dir, &run.info)?
        } else if run.stage == "reward-model" {
            bail!(
                "{text} is a reward model, not a policy; give an sft or esrl-rlhf run, or a model"
            )
        } else {
            bail!(
                "{text} has no adapter/ yet: the {} run has not saved a result",
                run.stage
            )
        };
        if full.is_dir() {
            run::check_result(&full)?;
        } else {
            run::check_sums(Path::new(&base))?;
        }
        if adapter_dir.is_dir() {
            run::check_result(&adapter_dir)?;
        }
        let template = saved_template(dir, &run.info)?;
        let adapter_dir = adapter_dir.is_dir().then_some(adapter_dir);
        let weights = adapter_dir.is_some().then(|| base_weights(&run.info));
        Ok(Self {
            name,
            base,
            weights: weights.transpose()?,
            adapter_dir,
            template: Some(template),
        })
    }
}

/// The run directory and the adapter that `dir` names: a run and its `adapter/`, or an adapter
/// inside a run, such as `runs/esrl/best`.
pub fn run_and_adapter(dir: &Path) -> (&Path, PathBuf) {
    match dir.parent() {
        Some(run)
            if dir.join("adapter_config.json").is_file() && run.join("run.json").is_file() =>
        {
            (run, dir.to_path_buf())
        }
        _ => (dir, dir.join("adapter")),
    }
}

/// `base_weights` of a run.json: the format of the projections that the run trained on. Runs from
/// before there was a choice do not record it.
///
/// ```
/// let info = serde_json::json!({ "base_weights": "q8_0" });
/// assert_eq!(policy::base_weights(&info).unwrap(), models::BaseWeights::Q8_0);
/// let old = serde_json::json!({});
/// assert_eq!(policy::base_weights(&old).unwrap(), models::BaseWeights::Stored);
/// ```
pub fn base_weights(info: &Value) -> Result<BaseWeights> {
    match info.get("base_weights") {
        Some(name) => serde_json::from_value(name.clone()).context("base_weights of run.json"),
        None => Ok(BaseWeights::Stored),
    }
}
