//! What a copy of a model keeps of its files: those of the tokenizer, and the settings that tell
//! other programs how to use the model.

use crate::config_json::token_ids;
use crate::hf_files::{parse_json, read_bytes, read_json};
use crate::hf_special::{LISTS, NAMED, token_text};
use crate::{Error, Result, SpecialTokens};
use serde_json::{Map, Value};
use std::path::Path;
use tokenizers::Tokenizer;

const MAP: &str = "special_tokens_map.json";

/// Files of a tokenizer that are copied as they are.
const FILES: [&str; 5] = [
    MAP,
    "added_tokens.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
];

/// Keys of tokenizer_config.json that a copy does not have: what it is written with instead, paths,
/// and code that is not copied.
const LEFT_OUT: [&str; 5] = [
    "chat_template",
    "auto_map",
    "name_or_path",
    "tokenizer_file",
    "special_tokens_map_file",
];

/// Settings and files of a model. Empty for models made here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HfDefaults {
    /// Of tokenizer_config.json
    pub(crate) tokenizer: Map<String, Value>,
    /// Its chat templates beside the default one
    templates: Vec<Value>,
    pub(crate) generation: Map<String, Value>,
    pub(crate) pad_token_id: Option<Value>,
    /// tokenizer.json; empty: the model has none
    json: Vec<u8>,
    files: Vec<(&'static str, Vec<u8>)>,
}

impl HfDefaults {
    /// Tokens that the tokenizer lacks are left out.
    pub(crate) fn read(dir: &Path, tokenizer: &Tokenizer) -> Result<Self> {
        let object = |file: &str| -> Result<Map<String, Value>> {
            Ok(match read_json(&dir.join(file))? {
                Some(Value::Object(map)) => map,
                _ => Map::new(),
            })
        };
        let settings = object("tokenizer_config.json")?;
        let custom = settings.get("auto_map").is_some_and(|v| !v.is_null());
        let templates = settings.get("chat_template").and_then(Value::as_array);
        let others = templates.into_iter().flatten();
        let others = others.filter(|template| template["name"] != "default");
        let templates = others.cloned().collect();
        let mut kept = known_tokens(settings, tokenizer);
        kept.retain(|key, _| !LEFT_OUT.contains(&key.as_str()));
        if custom {
            kept.insert("tokenizer_class".into(), FAST.into());
        }
        let mut generation = object("generation_config.json")?;
        generation.retain(|key, _| key != "transformers_version" && !key.starts_with('_'));
        let pad = object("config.json")?.remove("pad_token_id");
        let mut files = Vec::new();
        for name in FILES {
            let file = dir.join(name);
            if let Some(mut bytes) = read_bytes(&file)? {
                if name == MAP {
                    bytes = known_map(&file, bytes, tokenizer)?;
                }
                files.push((name, bytes));
            }
        }
        Ok(Self {
            tokenizer: kept,
            templates,
            generation,
            pad_token_id: pad.filter(|pad| !pad.is_null()),
            json: read_bytes(&dir.join("tokenizer.json"))?.unwrap_or_default(),
            files,
        })
    }

    /// Of the tokens that a GGUF file names, by their key in tokenizer_config.json.
    pub(crate) fn of_tokens(tokens: &[(&str, (u32, String))]) -> Self {
        let pad = tokens.iter().find(|(key, _)| *key == "pad_token");
        let pad = pad.map(|(_, (id, _))| Value::from(*id));
        let named = tokens.iter().map(|(key, (_, text))| {
            let text = text.as_str();
            ((*key).to_string(), text.into())
        });
        let generation = pad
            .iter()
            .map(|id| ("pad_token_id".to_string(), id.clone()));
        Self {
            tokenizer: named.collect(),
            generation: generation.collect(),
            pad_token_id: pad,
            ..Self::default()
        }
    }

    /// tokenizer.json of a copy: the model's own bytes, where they are this tokenizer.
    pub(crate) fn tokenizer_json(&self, tokenizer: &Tokenizer) -> tokenizers::Result<Vec<u8>> {
        let text = tokenizer.to_string(false)?;
        if self.json.is_empty() {
            return Ok(text.into_bytes());
        }
        let bytes = self.json.strip_prefix(b"\xef\xbb\xbf");
        let mut own = Tokenizer::from_bytes(bytes.unwrap_or(&self.json))?;
        own.with_padding(None);
        own.with_truncation(None)?;
        Ok(match own.to_string(false)? == text {
            true => self.json.clone(),
            false => text.into_bytes(),
        })
    }

    /// Other files of the tokenizer, by name.
    pub(crate) fn files(&self) -> &[(&'static str, Vec<u8>)] {
        &self.files
    }

    /// tokenizer_config.json of a copy with these special tokens.
    pub(crate) fn tokenizer_config(
        &self,
        special: &SpecialTokens,
        context: usize,
        chat_template: Option<&str>,
    ) -> Map<String, Value> {
        let mut settings = Map::new();
        if self.json.is_empty() {
            settings.insert("tokenizer_class".into(), FAST.into());
            settings.insert("clean_up_tokenization_spaces".into(), false.into());
            settings.insert("add_bos_token".into(), special.add_bos.into());
        }
        settings.insert("model_max_length".into(), context.into());
        settings.extend(self.tokenizer.clone());
        for (key, token) in [
            ("bos_token", special.bos.as_ref()),
            ("eos_token", special.eos.first()),
        ] {
            let text = token.map(|(_, text)| text.as_str());
            if settings.get(key).and_then(token_text) != text || text.is_none() {
                settings.insert(key.into(), text.into());
            }
        }
        if let Some(template) = chat_template {
            let whole = match self.templates.is_empty() {
                true => template.into(),
                false => {
                    let default = serde_json::json!({"name": "default", "template": template});
                    let all = [default].into_iter().chain(self.templates.iter().cloned());
                    all.collect::<Value>()
                }
            };
            settings.insert("chat_template".into(), whole);
        }
        settings
    }

    /// generation_config.json of a copy with these special tokens.
    pub(crate) fn generation_config(&self, special: &SpecialTokens) -> Map<String, Value> {
        let mut settings = self.generation.clone();
        let bos = special.bos.as_ref().map(|(id, _)| *id);
        let eos: Vec<u32> = special.eos.iter().map(|(id, _)| *id).collect();
        let of_model = token_ids(settings.get("eos_token_id"), "eos_token_id").unwrap_or_default();
        let same = of_model.len() == eos.len() && eos.iter().all(|id| of_model.contains(id));
        if !same {
            settings.insert("eos_token_id".into(), eos.into());
        }
        settings.insert("bos_token_id".into(), bos.into());
        settings
    }
}

const FAST: &str = "PreTrainedTokenizerFast";

/// Settings without the special tokens that the tokenizer lacks: transformers would add them, with
/// ids that the model does not have.
fn known_tokens(settings: Map<String, Value>, tokenizer: &Tokenizer) -> Map<String, Value> {
    let has =
        |value: &Value| token_text(value).is_some_and(|text| tokenizer.token_to_id(text).is_some());
    let known = settings.into_iter().filter_map(|(key, value)| {
        let is = |keys: &[&str]| keys.contains(&key.as_str());
        let value = match value {
            Value::Array(list) if is(&LISTS) => list.into_iter().filter(has).collect(),
            Value::Object(map) if is(&LISTS) => {
                Value::Object(map.into_iter().filter(|(_, v)| has(v)).collect())
            }
            value if is(&NAMED) && !value.is_null() && !has(&value) => return None,
            value => value,
        };
        Some((key, value))
    });
    known.collect()
}

/// special_tokens_map.json, as it is where the tokenizer has all of its tokens.
fn known_map(file: &Path, bytes: Vec<u8>, tokenizer: &Tokenizer) -> Result<Vec<u8>> {
    let Value::Object(map) =
        parse_json(file, bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes))?
    else {
        return Err(Error::at(file, "not a JSON object"));
    };
    let known = known_tokens(map.clone(), tokenizer);
    Ok(match known == map {
        true => bytes,
        false => format!("{:#}\n", Value::Object(known)).into_bytes(),
    })
}
