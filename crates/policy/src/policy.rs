//! A policy: a base, the adapter on it and the way it is prompted.

use crate::base::{Base, encoder};
use crate::base_place::BasePlace;
use crate::meta::PolicyMeta;
use crate::source::{PolicySource, PolicyText};
use crate::template::{TemplateChoice, own_template};
use anyhow::Result;
use candle_core::Device;
use data::{Encoder, Template};
use models::{CausalLm, Fetch, Lora, WeightStorage};
use run::FileHashes;
use std::path::Path;
use std::rc::Rc;

/// A base, and the adapter and template that make it this policy.
pub struct Policy {
    /// Of the run or of the model, for tables
    pub name: String,
    pub base: Rc<Base>,
    /// Frozen. None: the base by itself
    pub adapter: Option<Lora>,
    /// The adapter's files as they were read; empty without one
    pub adapter_files: FileHashes,
    pub encoder: Encoder,
    pub template: Template,
}

impl Policy {
    /// Opens `text`: a run directory of sft or esrl-rlhf, an adapter in it (`RUN/best`), an adapter
    /// of PEFT, or a plain model. `template`: how to prompt what comes from no run.
    pub fn open(text: &str, template: TemplateChoice, device: &Device) -> Result<Self> {
        let meta = PolicyMeta::open(text.into(), template, None, Fetch::Whole)?;
        meta.load(
            device,
            WeightStorage::of(ops::keeps_exact_weights(device), false),
        )
    }

    /// The same, on one of the `known` bases where it is the same base, so that each base is in
    /// memory once.
    pub fn open_sharing(
        policy: PolicyText,
        template: TemplateChoice,
        device: &Device,
        known: &[Rc<Base>],
    ) -> Result<Self> {
        let source = PolicySource::find(policy)?;
        let weights = source.weights.unwrap_or_default();
        let place = &source.base;
        let base = match known.iter().find(|base| base.is(&place.text, weights)) {
            Some(base) => base.clone(),
            None => {
                let base = Base::load(&place.text, weights, device);
                Rc::new(base.map_err(|e| place.explain(e))?)
            }
        };
        place.check_tokens(&base.tokenizer, &base.special)?;
        let of_adapter = match (&source.template, &source.adapter_dir) {
            (None, Some(dir)) => own_template(
                dir,
                base.chat_template.as_deref(),
                models::adapter_chat_template(
                    dir,
                    &base.model.config,
                    &base.tokenizer,
                    &base.special,
                )?,
            ),
            _ => None,
        };
        let chat = of_adapter.as_deref().or(base.chat_template.as_deref());
        let template = match source.template {
            Some(template) => template,
            None => template.resolve(&base.source, &base.special, chat)?,
        };
        let dir = source.adapter_dir.as_deref();
        let (adapter, adapter_files) = load_adapter(dir, place, &base.model)?;
        Ok(Self {
            name: source.name,
            adapter,
            adapter_files,
            encoder: encoder(&base, &template)?,
            base,
            template,
        })
    }

    pub fn model(&self) -> &CausalLm {
        &self.base.model
    }

    /// The model to change, before its base is shared.
    ///
    /// # Panics
    /// Where the base has a second owner.
    pub fn model_mut(&mut self) -> &mut CausalLm {
        let base = Rc::get_mut(&mut self.base);
        &mut base.expect("the base has one owner here").model
    }
}

impl PolicyMeta {
    /// Reads the weights.
    pub fn load(self, device: &Device, keep: WeightStorage) -> Result<Policy> {
        let weights = self.base.projections;
        let base = Base::new(&self.source, weights, self.base.load(device, keep)?);
        let dir = self.adapter_dir.as_deref();
        let (adapter, adapter_files) = load_adapter(dir, &self.place, &base.model)?;
        Ok(Policy {
            name: self.name,
            adapter,
            adapter_files,
            encoder: self.encoder,
            template: self.template,
            base: Rc::new(base),
        })
    }
}

fn load_adapter(
    dir: Option<&Path>,
    base: &BasePlace,
    model: &CausalLm,
) -> Result<(Option<Lora>, FileHashes)> {
    let Some(dir) = dir else {
        return Ok((None, FileHashes::default()));
    };
    let read = || Ok(Lora::load(dir, model)?);
    let (adapter, files) = FileHashes::of_what_is_read(dir, read)?;
    base.check(model)?;
    Ok((Some(adapter), files))
}
