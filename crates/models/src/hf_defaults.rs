//! What a copy of a model keeps of its files: the settings of tokenizer_config.json and
//! generation_config.json that tell other programs how to use it.

use crate::hf_files::read_json;
use crate::hf_special::{LISTS, NAMED, token_text};
use crate::{Result, SpecialTokens};
use serde_json::{Map, Value};
use std::path::Path;
use tokenizers::Tokenizer;

/// Kept keys of tokenizer_config.json, beside those that name tokens.
const KEPT: [&str; 5] = [
    "model_max_length",
    "padding_side",
    "truncation_side",
    "clean_up_tokenization_spaces",
    "spaces_between_special_tokens",
];

/// Settings of a model's files. Empty for GGUF and for models made here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HfDefaults {
    pub(crate) tokenizer: Map<String, Value>,
    pub(crate) generation: Map<String, Value>,
    pub(crate) pad_token_id: Option<Value>,
}

impl HfDefaults {
    /// `settings`: of tokenizer_config.json. Tokens that the tokenizer lacks are left out.
    pub(crate) fn read(dir: &Path, settings: &Value, tokenizer: &Tokenizer) -> Result<Self> {
        let has = |value: &Value| {
            token_text(value).is_some_and(|text| tokenizer.token_to_id(text).is_some())
        };
        let mut kept = Map::new();
        for (key, value) in settings.as_object().into_iter().flatten() {
            let is = |keys: &[&str]| keys.contains(&key.as_str());
            let value = match value {
                _ if is(&KEPT) => value.clone(),
                _ if is(&NAMED) && has(value) => value.clone(),
                Value::Array(list) if is(&LISTS) => {
                    list.iter().filter(|v| has(v)).cloned().collect()
                }
                _ => continue,
            };
            kept.insert(key.clone(), value);
        }
        let object = |file: &str| -> Result<Map<String, Value>> {
            Ok(match read_json(&dir.join(file))? {
                Some(Value::Object(map)) => map,
                _ => Map::new(),
            })
        };
        let mut generation = object("generation_config.json")?;
        generation.retain(|key, _| key != "transformers_version" && !key.starts_with('_'));
        let pad = object("config.json")?.remove("pad_token_id");
        Ok(Self {
            tokenizer: kept,
            generation,
            pad_token_id: pad.filter(|pad| !pad.is_null()),
        })
    }

    /// tokenizer_config.json of a copy with these special tokens.
    pub(crate) fn tokenizer_config(
        &self,
        special: &SpecialTokens,
        context: usize,
    ) -> Map<String, Value> {
        let text = |token: Option<&(u32, String)>| token.map(|(_, text)| text.clone()).into();
        let mut settings = Map::new();
        settings.insert("tokenizer_class".into(), "PreTrainedTokenizerFast".into());
        settings.insert("model_max_length".into(), context.into());
        settings.insert("clean_up_tokenization_spaces".into(), false.into());
        settings.extend(self.tokenizer.clone());
        settings.insert("bos_token".into(), text(special.bos.as_ref()));
        settings.insert("eos_token".into(), text(special.eos.first()));
        settings.insert("add_bos_token".into(), special.add_bos.into());
        settings
    }

    /// generation_config.json of a copy with these special tokens.
    pub(crate) fn generation_config(&self, special: &SpecialTokens) -> Map<String, Value> {
        let mut settings = self.generation.clone();
        let bos = special.bos.as_ref().map(|(id, _)| *id);
        let eos: Vec<u32> = special.eos.iter().map(|(id, _)| *id).collect();
        settings.insert("bos_token_id".into(), bos.into());
        settings.insert("eos_token_id".into(), eos.into());
        settings
    }
}
