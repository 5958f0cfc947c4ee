//! A policy before its weights are read: what a plan is made from, and what a run begins with.

use crate::policy::{Place, encoder_of};
use crate::{Base, Policy, TemplateChoice};
use anyhow::{Result, bail};
use candle_core::Device;
use data::{Encoder, Template};
use models::{BaseWeights, Fetch, Lora, LoraConfig, ModelMeta, ModelSource, WeightStorage};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// What is known of a policy without weights: sizes, and how it is talked to.
pub struct PolicyMeta {
    /// Of the run or of the model, for tables
    pub name: String,
    /// The text the base is opened by
    pub source: String,
    pub base: ModelMeta,
    /// Settings of the adapter that it brings
    pub adapter: Option<LoraConfig>,
    pub encoder: Encoder,
    pub template: Template,
    adapter_dir: Option<PathBuf>,
}

impl PolicyMeta {
    /// `text` as in [`Policy::open`]. `weights`: what the base is to be kept in (`model.weights`); None: what the run that `text` is keeps it in,
    /// else what it is stored in. `fetch`: the whole of a hub model where its weights will be read.
    pub fn open(
        text: &str,
        template: TemplateChoice,
        weights: Option<BaseWeights>,
        fetch: Fetch,
    ) -> Result<Self> {
        let place = Place::of(text)?;
        if let (Some(asked), Some(of_run)) = (weights, place.weights)
            && asked != of_run
        {
            bail!(
                "model.weights = \"{}\", but the adapter of {text} was trained on its base in \"{}\"; leave it out, or train that run with it, too",
                asked.name(),
                of_run.name()
            )
        }
        let mut base = models::model_meta(&ModelSource::parse(&place.source)?, fetch)?;
        base.projections = weights.or(place.weights).unwrap_or_default();
        let (unwieldy, all) = base.projections.count_fallbacks(&base.config)?;
        if unwieldy > 0 {
            eprintln!(
                "model.weights = \"{}\": {unwieldy} of {all} projections have rows that are not whole blocks; they are kept {}",
                base.projections.name(),
                match base.projections {
                    BaseWeights::Q4_K =>
                        "in q5_0, or as they are stored where their rows are not blocks of 32 either",
                    _ => "as they are stored",
                }
            );
        }
        Self::on(base, place, template)
    }

    /// A model of random weights of the shape that `dir` describes.
    pub fn random(dir: &Path, seed: u64, template: TemplateChoice) -> Result<Self> {
        let text = dir.to_string_lossy().into_owned();
        let place = Place {
            name: text.clone(),
            source: text,
            adapter: None,
            weights: None,
            template: None,
        };
        Self::on(ModelMeta::random(dir, seed)?, place, template)
    }

    fn on(base: ModelMeta, place: Place, template: TemplateChoice) -> Result<Self> {
        let Place {
            name,
            source,
            adapter: adapter_dir,
            weights: _,
            template: of_run,
        } = place;
        let template = match of_run {
            Some(template) => template,
            None => template.resolve(&source, &base.special, base.chat_template.as_deref())?,
        };
        let config_of = |dir: &PathBuf| LoraConfig::of_adapter(dir);
        Ok(Self {
            encoder: encoder_of(&source, &base.tokenizer, &base.special, &template)?,
            adapter: adapter_dir.as_ref().map(config_of).transpose()?,
            name,
            source,
            base,
            template,
            adapter_dir,
        })
    }

    /// The most tokens a sequence may have.
    pub fn context(&self) -> usize {
        self.base.config.max_position_embeddings
    }

    /// The adapter that it brings, or one of these settings, which must fit the base.
    pub fn lora_or(&self, lora: &LoraConfig) -> Result<LoraConfig> {
        match &self.adapter {
            Some(adapter) => Ok(adapter.clone()),
            None => {
                lora.check(&self.base.config)?;
                Ok(lora.clone())
            }
        }
    }

    /// Reads the weights.
    pub fn load(self, device: &Device, keep: WeightStorage) -> Result<Policy> {
        let weights = self.base.projections;
        let base = Base::new(&self.source, weights, self.base.load(device, keep)?);
        let load = |dir: &PathBuf| Lora::load(dir, &base.model);
        Ok(Policy {
            name: self.name,
            adapter: self.adapter_dir.as_ref().map(load).transpose()?,
            encoder: self.encoder,
            template: self.template,
            base: Rc::new(base),
        })
    }
}
