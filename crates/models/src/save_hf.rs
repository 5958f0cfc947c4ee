//! Writes a model as a Hugging Face directory, which transformers, vLLM and llama.cpp's converter
//! load. f32.

use crate::safetensors_file::write_tensors;
use crate::{CausalLm, Error, Result, SpecialTokens};
use serde_json::{Value, json};
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
        write_tensors(&dir.join("model.safetensors"), &self.tensors(), &[])?;
        let write = |name: &str, text: String| {
            let file = dir.join(name);
            std::fs::write(&file, text).map_err(Error::io(&file))
        };
        let text = tokenizer
            .to_string(false)
            .map_err(|e| Error::at(&dir.join("tokenizer.json"), e))?;
        write("tokenizer.json", text)?;

        let bos = special.bos.as_ref();
        let eos: Vec<u32> = special.eos.iter().map(|(id, _)| *id).collect();
        let mut settings = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": bos.map(|(_, text)| text),
            "eos_token": special.eos.first().map(|(_, text)| text),
            "add_bos_token": special.add_bos,
            "model_max_length": self.config.max_position_embeddings,
            "clean_up_tokenization_spaces": false,
        });
        if let Some(template) = chat_template {
            settings["chat_template"] = template.into();
        }
        write("tokenizer_config.json", format!("{settings:#}\n"))?;

        let bos_id = bos.map_or(Value::Null, |(id, _)| (*id).into());
        let generation = json!({"bos_token_id": bos_id, "eos_token_id": eos});
        write("generation_config.json", format!("{generation:#}\n"))?;

        let mut config = self.config.clone();
        config.bos_token_id = bos.map(|(id, _)| *id);
        config.eos_token_id = eos;
        write("config.json", format!("{:#}\n", config.to_json()))
    }
}
