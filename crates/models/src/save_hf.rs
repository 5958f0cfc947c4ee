//! Writes a model as a Hugging Face directory, which transformers, vLLM and llama.cpp's converter
//! load. f32.

use crate::safetensors_file::write_tensors;
use crate::{CausalLm, Error, HfDefaults, Result, SpecialTokens};
use serde_json::Value;
use std::path::Path;

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
            tokenizer,
            special,
            chat_template,
            &HfDefaults::default(),
        )
    }

    /// The same, with the settings that the files of the original model have: pad token, padding
    /// side, greatest length, generation defaults.
    pub fn save_copy(
        &self,
        dir: &Path,
        tokenizer: &tokenizers::Tokenizer,
        special: &SpecialTokens,
        chat_template: Option<&str>,
        defaults: &HfDefaults,
    ) -> Result<()> {
        write_tensors(&dir.join("model.safetensors"), &self.tensors(), &[])?;
        let write = |name: &str, text: String| {
            let file = dir.join(name);
            std::fs::write(&file, text).map_err(Error::io(&file))
        };
        let text = tokenizer
            .to_string(false)
            .map_err(|e| Error::at(&dir.join("tokenizer.json"), e))?;
        write("tokenizer.json", text)?;

        let context = self.config.max_position_embeddings;
        let mut settings = defaults.tokenizer_config(special, context);
        if let Some(template) = chat_template {
            settings.insert("chat_template".into(), template.into());
        }
        write(
            "tokenizer_config.json",
            format!("{:#}\n", Value::Object(settings)),
        )?;
        let generation = Value::Object(defaults.generation_config(special));
        write("generation_config.json", format!("{generation:#}\n"))?;

        let mut config = self.config.clone();
        config.bos_token_id = special.bos.as_ref().map(|(id, _)| *id);
        config.eos_token_id = special.eos.iter().map(|(id, _)| *id).collect();
        let mut config = config.to_json();
        if let Some(pad) = &defaults.pad_token_id {
            config["pad_token_id"] = pad.clone();
        }
        write("config.json", format!("{config:#}\n"))
    }
}
