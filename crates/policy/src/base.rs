//! A base model with its tokenizer, special tokens and chat template.

use anyhow::{Context, Result};
use candle_core::Device;
use data::{Encoder, Ends, Template};
use models::{
    BaseWeights, CausalLm, Fetch, HfDefaults, Loaded, ModelMeta, ModelSource, SpecialTokens,
    WeightStorage,
};
use std::path::Path;
use tokenizers::Tokenizer;

/// A base model. It is in memory once, however many policies, critics and reward models use it.
pub struct Base {
    /// The text that it was opened by: a directory, a GGUF file or a hub id
    pub source: String,
    /// The format of its projections in memory
    pub weights: BaseWeights,
    pub model: CausalLm,
    pub tokenizer: Tokenizer,
    pub special: SpecialTokens,
    pub chat_template: Option<String>,
    /// What a copy of the model keeps of its files
    pub defaults: HfDefaults,
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
            defaults: loaded.defaults,
        }
    }

    /// Reads a frozen base.
    pub fn load(source: &str, weights: BaseWeights, device: &Device) -> Result<Self> {
        let mut meta = models::model_meta(&ModelSource::parse(source)?, Fetch::Whole)?;
        meta.projections = weights;
        report_notes(source, &meta);
        let loaded = meta.load(
            device,
            WeightStorage::of(ops::keeps_exact_weights(device), false),
        )?;
        Ok(Self::new(source, weights, loaded))
    }

    /// Whether this base is `source` with its projections in `weights`. Paths may be written
    /// differently (`models/x`, `models/x/`, an absolute path).
    pub fn is(&self, source: &str, weights: BaseWeights) -> bool {
        let path = |text: &str| Path::new(text).canonicalize().ok();
        let same_path = || path(source).is_some_and(|p| Some(p) == path(&self.source));
        self.weights == weights && (self.source == source || same_path())
    }
}

/// Reads a frozen base with its projections as they are stored.
pub fn load_base(source: &str, device: &Device) -> Result<Base> {
    Base::load(source, BaseWeights::Stored, device)
}

/// Says on stderr how the files of a model that contradict each other were settled.
pub(crate) fn report_notes(source: &str, meta: &ModelMeta) {
    say_notes(source, &meta.notes);
}

pub(crate) fn say_notes(source: &str, notes: &[String]) {
    for note in notes {
        run::say!("{source}: {note}");
    }
}

/// The encoder of a base under a template, for texts up to the model's context.
pub fn encoder(base: &Base, template: &Template) -> Result<Encoder> {
    let encoder = encoder_of(&base.source, &base.tokenizer, &base.special, template)?;
    Ok(encoder.within(base.model.config.max_position_embeddings))
}

/// `source`: the model's name, for the error where it has no end-of-sequence token.
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
    let encoder = Encoder::new(tokenizer.clone(), template.clone(), ends)?;
    for note in encoder.notes() {
        run::say!("{source}: {note}");
    }
    Ok(encoder)
}
