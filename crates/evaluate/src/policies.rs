//! Opens the policies and reward models of several runs. A base that they share is in memory once.

use anyhow::{Context, Result, bail, ensure};
use candle_core::Device;
use data::{Encoder, Template};
use models::ModelSource;
use policy::{Base, BasePlace, Policy, PolicyText, TemplateChoice};
use rewards::RewardModel;
use run::SavedRun;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Opens policies and reward models, and reuses the bases opened so far.
pub(crate) struct PolicyOpener {
    device: Device,
    /// `--base`: of everything that has a base beside itself
    base: Option<String>,
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
    /// `base`: `--base`. `texts`: what will be opened, of which something must need it.
    pub fn new<'a>(
        device: &str,
        base: Option<&str>,
        texts: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self> {
        if let Some(base) = base {
            let mut is_used = false;
            for text in texts {
                saved_run(text)?;
                is_used |= policy::has_base(text)?;
            }
            ensure!(
                is_used,
                "--base {base} is not used: nothing that is given is an adapter or a run with one; \
                 leave it out"
            );
        }
        Ok(Self {
            device: policy::device(device)?,
            base: base.map(str::to_string),
            bases: Vec::new(),
        })
    }

    /// For one run or model.
    pub fn of_one(device: &str, base: Option<&str>, text: &str) -> Result<Self> {
        Self::new(device, base, [text])
    }

    /// Opens a policy: a run of sft or esrl-rlhf, an adapter of PEFT or a plain model. The last two
    /// use their own chat template.
    pub fn policy(&mut self, text: &str) -> Result<Policy> {
        let plain = saved_run(text)?.is_none();
        say_better_best(text)?;
        let has_base = policy::has_base(text)?;
        let named = PolicyText {
            base: self.base.as_deref().filter(|_| has_base),
            ..text.into()
        };
        let policy = Policy::open_sharing(named, TemplateChoice::Auto, &self.device, &self.bases)?;
        if plain && policy.template == Template::Alpaca {
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
        let place = BasePlace::of_run(dir, &run.info, self.base.as_deref())?;
        let (source, weights) = (&place.text, policy::base_weights(&run.info)?);
        let base = match self.bases.iter().find(|base| base.is(source, weights)) {
            Some(base) => base.clone(),
            None => {
                let base = Base::load(source, weights, &self.device);
                Rc::new(base.map_err(|e| place.explain(e))?)
            }
        };
        place.check_tokens(&base.tokenizer, &base.special)?;
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
            let ids = [drawn.prompt, drawn.response].concat();
            let context = self.base.model.config.max_position_embeddings;
            let ended = self
                .encoder
                .ended_as_trained(&ids, drawn.prompt.len(), context);
            return Ok(ended);
        }
        let mut ids = self.encoder.drawn_example(prompt, drawn.text)?.ids;
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
///
/// # Errors
/// If it is neither a run nor a model: a mistyped path.
pub(crate) fn saved_run(text: &str) -> Result<Option<SavedRun>> {
    let run = run::open_saved_run(policy::run_and_adapter(Path::new(text)).0)?;
    let is_missing = Path::new(text).symlink_metadata().is_err();
    if run.is_none() && is_missing && ModelSource::parse(text).is_err() {
        bail!(
            "{text} does not exist; give a run directory, the directory of a model or adapter, a \
             .gguf file or a hub id (org/name)"
        );
    }
    Ok(run)
}

/// Says where an RL run has a better policy in `best/` than the last one, for which its name
/// stands.
fn say_better_best(text: &str) -> Result<()> {
    let Some(run) = saved_run(text)?.filter(|run| run.stage == "esrl-rlhf") else {
        return Ok(());
    };
    let best = run.dir.join("best");
    let number = |key: &str| run.info.pointer(key)?.as_f64();
    let found = number("/summary/best_reward").zip(number("/summary/best_step"));
    let (Some((reward, step)), true) = (found, Path::new(text) == run.dir && best.is_dir()) else {
        return Ok(());
    };
    let rows = run::read_metrics(&run.dir)?;
    let mut rewards = rows.iter().filter_map(|row| row.metrics.get("eval/reward"));
    if let Some(last) = rewards.next_back()
        && run::is_above(reward, *last)
    {
        run::say!(
            "{text}: using the policy of the last step, with a held-out reward of {last:.3}; {} is \
             that of step {step}, with {reward:.3}",
            best.display()
        );
    }
    Ok(())
}

/// Identifies the policy that `text` names by all that its answers depend on: the base's shape and
/// a sample of its weights, their format, the template, and the hashes of the files that are its
/// own (a run's model or adapter, a plain model's directory or file). Answers are continued only if
/// it is the same: a run may have been trained again, or a model replaced, under its old name.
pub(crate) fn fingerprint(text: &str, policy: &Policy) -> Result<String> {
    let (run, _) = policy::run_and_adapter(Path::new(text));
    let given = Path::new(text).to_path_buf();
    let own = match saved_run(text)?.is_some() {
        true => Some(run.join("model")).filter(|dir| dir.is_dir()),
        false => Some(given).filter(|path| path.exists()), // else a hub id
    };
    let hashes: Vec<String> = match own {
        Some(own) => {
            let files = weight_files(&own)?;
            let hashes = files.iter().map(|file| run::file_hash(file));
            hashes.collect::<Result<_>>()?
        }
        None => {
            let files = policy.adapter_files.iter();
            let files = files.filter(|(file, _)| is_of_weights(file));
            files.map(|(_, hash)| hash.to_string()).collect()
        }
    };
    Ok(serde_json::json!([
        policy.model().fingerprint()?,
        policy.base.weights.name(),
        policy.template,
        hashes,
    ])
    .to_string())
}

/// The weights in a directory with the settings that they are used by, or the file itself.
fn weight_files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(path)
        .and_then(|entries| entries.map(|e| Ok(e?.path())).collect())
        .with_context(|| format!("cannot read {}", path.display()))?;
    files.retain(|file| is_of_weights(file));
    files.sort();
    Ok(files)
}

/// Whether a file holds weights or the settings that they are used by.
fn is_of_weights(file: &Path) -> bool {
    let settings = ["config.json", "adapter_config.json", "tokenizer.json"];
    file.extension().is_some_and(|e| e == "safetensors")
        || settings.iter().any(|name| file.ends_with(name))
}

/// The last part of a path.
pub(crate) fn file_name(path: &Path) -> String {
    let name = path.file_name();
    name.map_or_else(
        || path.display().to_string(),
        |n| n.to_string_lossy().into_owned(),
    )
}
