//! A policy before its weights are read: what a plan is made from, and what a run begins with.

use crate::policy::{Place, encoder_of};
use crate::{Base, Policy, TemplateChoice};
use anyhow::Result;
use candle_core::Device;
use data::{Encoder, Template};
use llama::{Llama, Lora, LoraConfig, Outline, Source};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// What is known of a policy without weights: sizes, and how it is talked to.
pub struct PolicyOutline {
    /// Of the run or of the model, for tables
    pub name: String,
    /// The text the base is opened by
    pub source: String,
    pub base: Outline,
    /// Settings of the adapter that it brings
    pub adapter: Option<LoraConfig>,
    pub encoder: Encoder,
    pub template: Template,
    adapter_dir: Option<PathBuf>,
    random: bool,
}

impl PolicyOutline {
    /// `text` as in [`Policy::open`].
    pub fn open(text: &str, template: TemplateChoice) -> Result<Self> {
        let place = Place::of(text)?;
        let base = llama::outline(&Source::parse(&place.source)?)?;
        Self::on(base, place, template)
    }

    /// A model of random weights of the shape that `dir` describes.
    pub fn random(dir: &Path, template: TemplateChoice) -> Result<Self> {
        let text = dir.to_string_lossy().into_owned();
        let place = Place {
            name: text.clone(),
            source: text,
            adapter: None,
            template: None,
        };
        let outline = Self::on(Outline::random(dir)?, place, template)?;
        Ok(Self {
            random: true,
            ..outline
        })
    }

    fn on(base: Outline, place: Place, template: TemplateChoice) -> Result<Self> {
        let Place {
            name,
            source,
            adapter: adapter_dir,
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
            random: false,
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

    /// Reads the weights. `seed`: of random ones.
    pub fn load_seeded(self, device: &Device, seed: u64) -> Result<Policy> {
        let loaded = match self.random {
            true => {
                let model = Llama::init(&self.base.config, seed, device)?;
                self.base.with(model)
            }
            false => self.base.load(device)?,
        };
        let base = Base::new(&self.source, loaded);
        let load = |dir: &PathBuf| Lora::load(dir, &base.model);
        Ok(Policy {
            name: self.name,
            adapter: self.adapter_dir.as_ref().map(load).transpose()?,
            encoder: self.encoder,
            template: self.template,
            base: Rc::new(base),
        })
    }

    /// Reads the weights.
    pub fn load(self, device: &Device) -> Result<Policy> {
        self.load_seeded(device, 0)
    }
}
