//! Writes a model as a Hugging Face directory, which transformers, vLLM and llama.cpp's converter
//! load.

use crate::model_spec::{Slot, params};
use crate::safetensors_file::{WrittenDtype, write_changed};
use crate::{CausalLm, Error, HfDefaults, Lora, Result, SpecialTokens};
use candle_core::Tensor;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::path::Path;

/// What a written model has beside its weights, and how these are written.
#[derive(Clone, Copy)]
pub struct HfCopy<'a> {
    pub tokenizer: &'a tokenizers::Tokenizer,
    pub special: &'a SpecialTokens,
    pub chat_template: Option<&'a str>,
    /// What the files of the original model have: its tokenizer's files and settings, pad token and
    /// generation defaults
    pub defaults: &'a HfDefaults,
    /// Added to the weights, one at a time
    pub adapter: Option<&'a Lora>,
    pub dtype: WrittenDtype,
}

impl CausalLm {
    /// Writes config.json, model.safetensors, tokenizer.json, tokenizer_config.json and
    /// generation_config.json into an existing directory. Not atomic: the caller renames the
    /// directory once it is complete.
    pub fn save_hf(
        &self,
        dir: &Path,
        tokenizer: &tokenizers::Tokenizer,
        special: &SpecialTokens,
        chat_template: Option<&str>,
    ) -> Result<()> {
        self.save_copy(
            dir,
            &HfCopy {
                tokenizer,
                special,
                chat_template,
                defaults: &HfDefaults::default(),
                adapter: None,
                dtype: WrittenDtype::F32,
            },
        )
    }

    /// The same as `copy` says.
    pub fn save_copy(&self, dir: &Path, copy: &HfCopy) -> Result<()> {
        let HfCopy {
            tokenizer,
            special,
            chat_template,
            defaults,
            adapter,
            dtype,
        } = *copy;
        let slots: HashMap<String, Slot> = params(&self.config)
            .into_iter()
            .map(|param| (param.hf_name, param.slot))
            .collect();
        adapter.map(|lora| self.require_fits(lora)).transpose()?;
        let merged = |name: &str, tensor: &Tensor| match adapter {
            Some(lora) => self.merged_weight(slots[name], lora),
            None => Ok(tensor.clone()),
        };
        let file = dir.join("model.safetensors");
        write_changed(&file, &self.tensors(), &[], dtype, &merged)?;
        let write = |name: &str, bytes: &[u8]| {
            let file = dir.join(name);
            std::fs::write(&file, bytes).map_err(Error::io(&file))
        };
        let json = defaults
            .tokenizer_json(tokenizer)
            .map_err(|e| Error::at(&dir.join("tokenizer.json"), e))?;
        write("tokenizer.json", &json)?;
        for (name, bytes) in defaults.files() {
            write(name, bytes)?;
        }

        let context = self.config.max_position_embeddings;
        let settings = defaults.tokenizer_config(special, context, chat_template);
        write("tokenizer_config.json", settings_text(settings).as_bytes())?;
        let generation = Value::Object(defaults.generation_config(special));
        let generation = format!("{generation:#}\n");
        write("generation_config.json", generation.as_bytes())?;

        let mut config = self.config.clone();
        config.bos_token_id = special.bos.as_ref().map(|(id, _)| *id);
        config.eos_token_id = special.eos.iter().map(|(id, _)| *id).collect();
        let mut config = config.to_json();
        for key in ["dtype", "torch_dtype"] {
            config[key] = dtype.name().into();
        }
        if let Some(pad) = &defaults.pad_token_id {
            config["pad_token_id"] = pad.clone();
        }
        write("config.json", format!("{config:#}\n").as_bytes())
    }
}

/// tokenizer_config.json. transformers writes "no limit" as a whole number of 31 digits, which JSON
/// in Rust holds as 1e30; other programs want it whole.
fn settings_text(settings: Map<String, Value>) -> String {
    const KEY: &str = "model_max_length";
    let length = settings.get(KEY).cloned().unwrap_or_default();
    let text = format!("{:#}\n", Value::Object(settings));
    match length
        .as_f64()
        .filter(|n| length.is_f64() && n.fract() == 0.0)
    {
        None => text,
        Some(n) => text.replacen(
            &format!("\"{KEY}\": {length}"),
            &format!("\"{KEY}\": {n:.0}"),
            1,
        ),
    }
}
