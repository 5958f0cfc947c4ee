//! Opens the policies and reward models of several runs. A base that they share is in memory once.

use anyhow::{Context, Result, bail, ensure};
use candle_core::Device;
use data::{Encoder, Template};
use policy::{Base, Policy, TemplateChoice};
use rewards::RewardModel;
use run::SavedRun;
use std::path::Path;
use std::rc::Rc;

/// Opens policies and reward models, and reuses the bases opened so far.
pub(crate) struct PolicyOpener {
    device: Device,
    bases: Vec<Rc<Base>>,
}

/// A reward-model run, opened on its base.
pub(crate) struct Reward {
    pub name: String,
    pub base: Rc<Base>,
    pub model: RewardModel,
    pub encoder: Encoder,
    pub template: Template,
}

impl PolicyOpener {
    pub fn new(device: &str) -> Result<Self> {
        Ok(Self {
            device: policy::device(device)?,
            bases: Vec::new(),
        })
    }

    /// Opens a policy: a run of sft or esrl-rlhf, or a plain model, which uses its own chat
    /// template.
    pub fn policy(&mut self, text: &str) -> Result<Policy> {
        let policy = Policy::open_sharing(text, TemplateChoice::Auto, &self.device, &self.bases)?;
        let plain = run::open_saved_run(Path::new(text))?.is_none();
        if plain && policy.base.chat_template.is_none() {
            run::say!("{text} has no chat template; using the Alpaca format");
        }
        self.keep(&policy.base);
        Ok(policy)
    }

    /// Opens the reward model of a reward-model run.
    pub fn reward(&mut self, dir: &Path) -> Result<Reward> {
        let text = dir.display();
        let run = run::open_saved_run(dir)?
            .with_context(|| format!("{text} is not a run directory; give a reward-model run"))?;
        ensure!(
            run.stage == "reward-model",
            "{text} is a run of {}; give a reward-model run",
            run.stage
        );
        let artefact = dir.join("reward");
        if !artefact.is_dir() {
            bail!("{text} has no reward/ yet: the run has not saved a result");
        }
        let source = run.info.get("base").and_then(|v| v.as_str());
        let source = source.with_context(|| format!("{text}/run.json has no base"))?;
        let weights = policy::base_weights(&run.info)?;
        let base = match self.bases.iter().find(|base| base.is(source, weights)) {
            Some(base) => base.clone(),
            None => Rc::new(Base::load(source, weights, &self.device)?),
        };
        self.keep(&base);
        let model = RewardModel::load(&artefact, &base.model)
            .with_context(|| format!("reward model {text}"))?;
        let template = policy::dated(model.template.clone(), &run.info);
        Ok(Reward {
            name: file_name(dir),
            encoder: policy::encoder(&base, &template)?,
            base,
            model,
            template,
        })
    }

    fn keep(&mut self, base: &Rc<Base>) {
        if !self.bases.iter().any(|known| Rc::ptr_eq(known, base)) {
            self.bases.push(base.clone());
        }
    }
}

impl Reward {
    /// Token ids of prompt and answer for this reward model.
    ///
    /// The policy's ids are used if both have the same base and template. Otherwise the text is
    /// rendered and tokenised again, with EOS only if the policy drew it.
    pub fn row(&self, policy: &Policy, prompt: &data::Prompt, drawn: Drawn) -> Result<Vec<u32>> {
        if Rc::ptr_eq(&policy.base, &self.base) && policy.template == self.template {
            return Ok([drawn.prompt, drawn.response].concat());
        }
        let mut ids = self.encoder.example(prompt, drawn.text)?.ids;
        if !drawn.finished {
            ids.pop();
        }
        Ok(ids)
    }
}

/// One sampled answer, as token ids and as text.
#[derive(Clone, Copy)]
pub(crate) struct Drawn<'a> {
    pub prompt: &'a [u32],
    pub response: &'a [u32],
    pub text: &'a str,
    /// Whether it ended with EOS
    pub finished: bool,
}

/// The run directory that `text` names; `None` for a plain model.
pub(crate) fn saved_run(text: &str) -> Result<Option<SavedRun>> {
    run::open_saved_run(policy::run_and_adapter(Path::new(text)).0)
}

/// Identifies the weights that `text` names: hashes of the weight files, or `text` itself for a
/// plain model. Answers are continued only if it is the same, since a run may have been trained
/// again under its old name.
pub(crate) fn fingerprint(text: &str) -> Result<String> {
    let (run, adapter) = policy::run_and_adapter(Path::new(text));
    let dir = [run.join("model"), adapter]
        .into_iter()
        .find(|dir| dir.is_dir());
    let Some(dir) = dir else {
        return Ok(text.to_string());
    };
    let mut files: Vec<_> = std::fs::read_dir(&dir)
        .and_then(|entries| entries.map(|e| Ok(e?.path())).collect())
        .with_context(|| format!("cannot read {}", dir.display()))?;
    files.sort();
    let weights = files
        .iter()
        .filter(|f| f.extension().is_some_and(|e| e == "safetensors"));
    let hashes: Vec<String> = weights.map(|f| run::file_hash(f)).collect::<Result<_>>()?;
    Ok(hashes.join(" "))
}

/// The last part of a path.
pub(crate) fn file_name(path: &Path) -> String {
    let name = path.file_name();
    name.map_or_else(
        || path.display().to_string(),
        |n| n.to_string_lossy().into_owned(),
    )
}
