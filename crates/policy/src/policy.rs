//! Opens a policy: a base model (Hugging Face directory, GGUF file, hub id) or the run directory of an earlier stage.

use crate::PolicyMeta;
use anyhow::{Context, Result, bail};
use candle_core::Device;
use data::{Encoder, Ends, Template};
use models::{
    BaseWeights, CausalLm, Fetch, Loaded, Lora, ModelSource, SpecialTokens, WeightStorage,
};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use tokenizers::Tokenizer;

/// A base model with what comes with it. Held once, however many policies, critics and reward models stand on it.
pub struct Base {
    /// The text it was opened by: a directory, a GGUF file or a hub id.
    pub source: String,
    /// What its projections are kept in
    pub weights: BaseWeights,
    pub model: CausalLm,
    pub tokenizer: Tokenizer,
    pub special: SpecialTokens,
    pub chat_template: Option<String>,
}

impl Base {
    pub(crate) fn new(source: &str, weights: BaseWeights, loaded: Loaded) -> Self {
        Self {
            source: source.to_string(),
            weights,
            model: loaded.model,
            tokenizer: loaded.tokenizer,
            special: loaded.special,
            chat_template: loaded.chat_template,
        }
    }

    /// Reads one that stands still.
    pub fn load(source: &str, weights: BaseWeights, device: &Device) -> Result<Self> {
        let mut meta = models::model_meta(&ModelSource::parse(source)?, Fetch::Whole)?;
        meta.projections = weights;
        let loaded = meta.load(device, WeightStorage::of(device.is_cpu(), false))?;
        Ok(Self::new(source, weights, loaded))
    }

    /// Whether this base is `source`, however its path is written (`models/x`, `models/x/`, an absolute path), kept so.
    pub fn is(&self, source: &str, weights: BaseWeights) -> bool {
        let place = |text: &str| Path::new(text).canonicalize().ok();
        let same = |source| place(source).is_some_and(|p| Some(p) == place(&self.source));
        self.weights == weights && (self.source == source || same(source))
    }
}

/// A base, the adapter that makes it this policy, and how it is talked to.
pub struct Policy {
    /// Name of the run or of the model, for tables.
    pub name: String,
    pub base: Rc<Base>,
    /// Frozen. None: the base as it is.
    pub adapter: Option<Lora>,
    pub encoder: Encoder,
    pub template: Template,
}

/// `template = …` of a config.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TemplateChoice {
    /// the model's own chat template, or Alpaca's where it has none
    #[default]
    Auto,
    Alpaca,
    Chat,
    Raw,
}

impl TemplateChoice {
    pub fn parse(text: &str) -> Result<Self> {
        Ok(match text {
            "auto" => Self::Auto,
            "alpaca" => Self::Alpaca,
            "chat" => Self::Chat,
            "raw" => Self::Raw,
            other => {
                bail!("template \"{other}\" is not known; it is one of auto, alpaca, chat, raw")
            }
        })
    }

    /// `source`: the model's name, for the message.
    pub(crate) fn resolve(
        self,
        source: &str,
        special: &SpecialTokens,
        chat: Option<&str>,
    ) -> Result<Template> {
        let chat = || chat.map(|chat| chat_template(chat.to_string(), special));
        Ok(match self {
            Self::Alpaca => Template::Alpaca,
            Self::Raw => Template::Raw,
            Self::Chat => chat().with_context(|| {
                format!(
                    "template = \"chat\", but {source} has no chat template; use template = \"alpaca\""
                )
            })?,
            Self::Auto => chat().unwrap_or(Template::Alpaca),
        })
    }
}

fn chat_template(source: String, special: &SpecialTokens) -> Template {
    Template::Chat {
        source,
        bos: special
            .bos
            .as_ref()
            .map(|(_, text)| text.clone())
            .unwrap_or_default(),
        eos: special
            .eos
            .first()
            .map(|(_, text)| text.clone())
            .unwrap_or_default(),
    }
}

/// A base as it is stored.
pub fn load_base(source: &str, device: &Device) -> Result<Base> {
    Base::load(source, BaseWeights::Stored, device)
}

/// `base_weights` of a run.json: what the run kept its base in. Runs of before there was a choice do not say.
pub fn base_weights(info: &Value) -> Result<BaseWeights> {
    match info.get("base_weights") {
        Some(name) => serde_json::from_value(name.clone()).context("base_weights of run.json"),
        None => Ok(BaseWeights::Stored),
    }
}

/// The encoder of a base under a template.
pub fn encoder(base: &Base, template: &Template) -> Result<Encoder> {
    encoder_of(&base.source, &base.tokenizer, &base.special, template)
}

pub(crate) fn encoder_of(
    source: &str,
    tokenizer: &Tokenizer,
    special: &SpecialTokens,
    template: &Template,
) -> Result<Encoder> {
    let eos = special.eos.first().with_context(|| {
        format!("{source} names no end-of-sequence token; answers could never end")
    })?;
    let ends = Ends {
        bos: special.bos.as_ref().map(|(id, _)| *id),
        add_bos: special.add_bos,
        eos: eos.0,
        stop: special.eos.iter().map(|(id, _)| *id).collect(),
    };
    Ok(Encoder::new(tokenizer.clone(), template.clone(), ends)?)
}

/// The run that `dir` is, and its adapter; or the run that `dir` is an adapter of, as `runs/esrl/best` is.
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

impl Policy {
    /// Opens `text`: a run directory of sft or esrl-rlhf, an adapter in it (`RUN/best`), or a plain model (then `template` decides how it is prompted).
    pub fn open(text: &str, template: TemplateChoice, device: &Device) -> Result<Self> {
        let meta = PolicyMeta::open(text, template, None, Fetch::Whole)?;
        meta.load(device, WeightStorage::of(device.is_cpu(), false))
    }

    /// The same, standing on one of `known` bases where its source is equal, so that a base is in memory once.
    pub fn open_sharing(
        text: &str,
        template: TemplateChoice,
        device: &Device,
        known: &[Rc<Base>],
    ) -> Result<Self> {
        let place = Place::of(text)?;
        let weights = place.weights.unwrap_or_default();
        let base = match known.iter().find(|base| base.is(&place.source, weights)) {
            Some(base) => base.clone(),
            None => Rc::new(Base::load(&place.source, weights, device)?),
        };
        let template = match place.template {
            Some(template) => template,
            None => template.resolve(&base.source, &base.special, base.chat_template.as_deref())?,
        };
        let load = |dir: &PathBuf| Lora::load(dir, &base.model);
        Ok(Self {
            name: place.name,
            adapter: place.adapter.as_ref().map(load).transpose()?,
            encoder: encoder(&base, &template)?,
            base,
            template,
        })
    }

    pub fn model(&self) -> &CausalLm {
        &self.base.model
    }

    /// Before the base is shared.
    pub fn model_mut(&mut self) -> &mut CausalLm {
        let base = Rc::get_mut(&mut self.base);
        &mut base.expect("the base has one owner here").model
    }
}

/// Where a policy lies.
pub(crate) struct Place {
    /// Of the run or of the model, for tables
    pub name: String,
    /// Of the base
    pub source: String,
    pub adapter: Option<PathBuf>,
    /// What the adapter's base is kept in
    pub weights: Option<BaseWeights>,
    /// How a run was prompted; None: a plain model
    pub template: Option<Template>,
}

impl Place {
    pub fn of(text: &str) -> Result<Self> {
        let given = Path::new(text);
        let (dir, adapter_dir) = run_and_adapter(given);
        let Some(run) = run::open_saved_run(dir)? else {
            return Ok(Self {
                name: text.trim_end_matches('/').to_string(),
                source: text.to_string(),
                adapter: None,
                weights: None,
                template: None,
            });
        };
        run.warn_if_unfinished();
        let file_name = |path: &Path| path.file_name().map(|n| n.to_string_lossy().into_owned());
        let mut name = file_name(dir).unwrap_or_else(|| text.to_string());
        if given != dir {
            name = format!("{name}-{}", file_name(given).unwrap_or_default());
        }
        let full = dir.join("model");
        let source = if full.is_dir() {
            full.to_string_lossy().into_owned()
        } else if adapter_dir.is_dir() {
            let base = run.info.get("base").and_then(|v| v.as_str());
            base.with_context(|| format!("{text}/run.json does not name its base model"))?
                .to_string()
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
        let file = dir.join("template.json");
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        let template = serde_json::from_str(&text)
            .with_context(|| format!("{} is damaged", file.display()))?;
        let adapter = adapter_dir.is_dir().then_some(adapter_dir);
        let weights = adapter.is_some().then(|| base_weights(&run.info));
        Ok(Self {
            name,
            source,
            weights: weights.transpose()?,
            adapter,
            template: Some(template),
        })
    }
}

/// Writes how the run talks (template, tokenizer, special tokens) and what it stands on, which is what it began with.
pub fn write_identity(run: &mut run::Run, base: &Base, template: &Template) -> Result<()> {
    crate::inputs::same(
        run,
        "base_fingerprint",
        &base.model.fingerprint()?,
        &base.source,
    )?;
    run.write_file(
        "template.json",
        serde_json::to_string_pretty(template)?.as_bytes(),
    )?;
    let tokenizer = base
        .tokenizer
        .to_string(false)
        .map_err(|e| anyhow::anyhow!("tokenizer: {e}"))?;
    run.write_file("tokenizer.json", tokenizer.as_bytes())?;
    run.write_file(
        "special.json",
        serde_json::to_string_pretty(&base.special)?.as_bytes(),
    )?;
    run.record("base", base.source.clone().into())?;
    run.record("base_weights", base.weights.name().into())?;
    Ok(())
}
