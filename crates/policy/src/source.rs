//! Finds the parts of a policy on disk: its base, its adapter and its template.

use crate::base_place::{BasePlace, began_from, locate};
use crate::recorded::run_and_adapter;
use crate::template::saved_template;
use anyhow::{Context, Result, bail, ensure};
use data::Template;
use models::{BaseWeights, ModelSource};
use run::SavedRun;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The parts of a policy.
pub(crate) struct PolicySource {
    /// Of the run or of the model, for tables
    pub name: String,
    pub base: BasePlace,
    pub adapter_dir: Option<PathBuf>,
    /// The format of the base's projections that the adapter was trained on
    pub weights: Option<BaseWeights>,
    /// The template of the run. None: a plain model, or an adapter that belongs to no run
    pub template: Option<Template>,
}

/// What names a policy.
#[derive(Clone, Copy)]
pub struct PolicyText<'a> {
    /// A run directory of sft or esrl-rlhf, an adapter in it (`RUN/best`), a directory of PEFT, or
    /// a model
    pub text: &'a str,
    /// `model.base` or `--base`: where its base is. None: where the run or adapter says
    pub base: Option<&'a str>,
    /// The run that is resumed, which began from `text`
    pub resumed: Option<&'a Path>,
}

impl<'a> From<&'a str> for PolicyText<'a> {
    fn from(text: &'a str) -> Self {
        Self {
            text,
            base: None,
            resumed: None,
        }
    }
}

impl PolicySource {
    /// A plain model.
    pub fn model(text: &str) -> Self {
        Self {
            name: text.trim_end_matches('/').to_string(),
            base: BasePlace::model(text),
            adapter_dir: None,
            weights: None,
            template: None,
        }
    }

    /// # Errors
    /// If it is incomplete or damaged; results and merged models have checksums.
    pub fn find(policy: PolicyText) -> Result<Self> {
        let given = Path::new(policy.text);
        let (dir, adapter_dir) = run_and_adapter(given);
        match run::open_saved_run(dir)? {
            Some(run) => Self::of_run(policy, &run, adapter_dir),
            None if models::is_adapter(given)? => Self::adapter(policy),
            None => Self::plain(policy),
        }
    }

    /// A model by itself. When a run that began from it is resumed, it may lie elsewhere.
    fn plain(policy: PolicyText) -> Result<Self> {
        let text = policy.text;
        if let Some(dir) = policy.resumed
            && began_from(dir, text)?
        {
            let base = locate(dir, policy.base, || Ok(text))?;
            run::check_sums(Path::new(&base))?;
            return Ok(Self::model(&base));
        }
        let Some(base) = policy.base else {
            run::check_sums(Path::new(text))?;
            return Ok(Self::model(text));
        };
        match ModelSource::parse(text) {
            Err(error) => bail!("{error}; model.base is the base of a run or adapter, not a model"),
            Ok(_) => bail!(
                "model.base (--base) is {base:?}, but {text} is a model by itself, not an adapter; \
                 leave it out"
            ),
        }
    }

    /// An adapter of PEFT's format that belongs to no run.
    fn adapter(policy: PolicyText) -> Result<Self> {
        let dir = Path::new(policy.text);
        run::check_sums(dir)?;
        ensure!(
            !dir.join("reward.json").exists(),
            "{} is a reward model, not a policy; give the adapter of an sft or esrl-rlhf run, or a \
             model",
            policy.text
        );
        let base = BasePlace::of_adapter(dir, policy.base)?;
        run::check_sums(Path::new(&base.text))?;
        Ok(Self {
            base,
            adapter_dir: Some(dir.to_path_buf()),
            ..Self::model(policy.text)
        })
    }

    fn of_run(policy: PolicyText, run: &SavedRun, adapter_dir: PathBuf) -> Result<Self> {
        let (text, dir) = (policy.text, run.dir.as_path());
        run.warn_if_unfinished();
        if run.stage == "reward-model" {
            bail!(
                "{text} is a reward model, not a policy; give an sft or esrl-rlhf run, or a model"
            )
        }
        let given = Path::new(text);
        let file_name = |path: &Path| path.file_name().map(|n| n.to_string_lossy().into_owned());
        let mut name = file_name(dir).unwrap_or_else(|| text.to_string());
        if given != dir {
            name = format!("{name}-{}", file_name(given).unwrap_or_default());
        }
        let full = dir.join("model");
        let base = if full.is_dir() {
            ensure!(
                policy.base.is_none(),
                "model.base (--base) is given, but {text} has every weight in its model/ and needs \
                 no base; leave it out"
            );
            run::check_result(&full)?;
            BasePlace::model(&full.to_string_lossy())
        } else if adapter_dir.is_dir() {
            let base = BasePlace::of_run(dir, &run.info, policy.base)?;
            run::check_sums(Path::new(&base.text))?;
            base
        } else {
            bail!(
                "{text} has no adapter/ yet: the {} run has not saved a result",
                run.stage
            )
        };
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
