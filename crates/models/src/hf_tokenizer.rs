//! The files beside the weights of a Hugging Face directory: tokenizer, special tokens and chat
//! template.

use crate::config_json::token_ids;
use crate::{Config, Error, Result};
use serde_json::Value;
use std::path::Path;
use tokenizers::Tokenizer;

/// Ids and texts of BOS and EOS.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SpecialTokens {
    /// `None` where the model has none.
    pub bos: Option<(u32, String)>,
    /// Never inferred from the padding token. The first one ends a training text.
    pub eos: Vec<(u32, String)>,
    /// The tokenizer puts BOS before a plain text.
    pub add_bos: bool,
}

/// What a Hugging Face directory has beside its weights.
pub struct HfDirectory {
    pub config: Config,
    pub tokenizer: Tokenizer,
    pub special: SpecialTokens,
    /// Jinja source of the model's own chat template, if it has one.
    pub chat_template: Option<String>,
}

/// Reads config.json, the tokenizer, the special tokens and the chat template of a directory.
pub fn read_hf_directory(dir: &Path) -> Result<HfDirectory> {
    let config_file = dir.join("config.json");
    if !config_file.is_file() {
        return Err(Error::at(
            dir,
            "no config.json; this is not a Hugging Face model directory",
        ));
    }
    let config = Config::read(&config_file)?;
    let tokenizer = read_tokenizer(&dir.join("tokenizer.json"), &config)?;
    let settings = read_json(&dir.join("tokenizer_config.json"))?.unwrap_or(Value::Null);
    let special = special(dir, &config, &tokenizer, &settings)?;
    let chat_template = chat_template(dir, &settings)?;
    Ok(HfDirectory {
        config,
        tokenizer,
        special,
        chat_template,
    })
}

fn read_tokenizer(file: &Path, config: &Config) -> Result<Tokenizer> {
    let bytes = std::fs::read(file).map_err(Error::io(file))?;
    // tokenizers panics where the file is not JSON, as when it was truncated
    let value: Value =
        serde_json::from_slice(&bytes).map_err(|e| Error::at(file, format!("not JSON: {e}")))?;
    if let Some(id) = unknown_special(&value["post_processor"]) {
        let what = format!("its post_processor inserts {id}, which its special_tokens lack");
        return Err(Error::at(file, what));
    }
    if let Some(merge) = bad_merge(&value["model"]) {
        let what = format!("the result of its merge {merge} is not in its vocabulary");
        return Err(Error::at(file, what));
    }
    let tokenizer = Tokenizer::from_bytes(&bytes)
        .map_err(|e| Error::at(file, format!("not a tokenizer: {e}")))?;
    prepare(tokenizer, config, file)
}

/// A token of a template (alone or in a sequence of processors) that the template does not define.
/// tokenizers would panic.
fn unknown_special(processor: &Value) -> Option<&Value> {
    let pieces = ["single", "pair"]
        .into_iter()
        .flat_map(|key| processor[key].as_array());
    let unknown = pieces
        .flatten()
        .map(|piece| &piece["SpecialToken"]["id"])
        .find(|id| {
            id.as_str()
                .is_some_and(|id| processor["special_tokens"].get(id).is_none())
        });
    let inner = processor["processors"].as_array();
    unknown.or_else(|| inner?.iter().find_map(unknown_special))
}

/// A merge whose result is no token. tokenizers would panic where the result is longer than every
/// token.
fn bad_merge(model: &Value) -> Option<&Value> {
    let vocab = model["vocab"].as_object()?;
    let prefix = model["continuing_subword_prefix"]
        .as_str()
        .unwrap_or_default();
    model["merges"].as_array()?.iter().find(|merge| {
        let pair = match merge {
            Value::String(pair) => pair.split_once(' '),
            pair => pair[0].as_str().zip(pair[1].as_str()),
        };
        let Some((a, b)) = pair else {
            return false; // another mistake, which tokenizers reports
        };
        // by bytes, as in tokenizers
        let rest = b.get(prefix.len()..);
        rest.is_none_or(|rest| !vocab.contains_key(&format!("{a}{rest}")))
    })
}

/// The tokenizer without truncation and padding. Refuses one whose ids exceed the vocabulary.
pub(crate) fn prepare(mut tokenizer: Tokenizer, config: &Config, file: &Path) -> Result<Tokenizer> {
    tokenizer.with_padding(None);
    tokenizer
        .with_truncation(None)
        .map_err(|e| Error::at(file, e))?;
    let n_ids = tokenizer
        .get_vocab(true)
        .into_values()
        .max()
        .map_or(0, |id| id as usize + 1);
    if n_ids == 0 {
        return Err(Error::at(file, "the tokenizer's vocabulary is empty"));
    }
    if n_ids > config.vocab_size {
        return Err(Error::at(
            file,
            format!(
                "the tokenizer has {n_ids} ids but the model's vocabulary is {}; the tokenizer is not this model's",
                config.vocab_size
            ),
        ));
    }
    Ok(tokenizer)
}

/// A JSON file; `None` if it does not exist.
pub(crate) fn read_json(file: &Path) -> Result<Option<Value>> {
    match std::fs::read_to_string(file) {
        Ok(text) => serde_json::from_str(&text)
            .map(Some)
            .map_err(|e| Error::at(file, format!("not JSON: {e}"))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(file)(e)),
    }
}

/// A token that is given as text or as `{"content": text}`.
fn token_text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("content")?.as_str())
}

fn special(
    dir: &Path,
    config: &Config,
    tokenizer: &Tokenizer,
    settings: &Value,
) -> Result<SpecialTokens> {
    let map = read_json(&dir.join("special_tokens_map.json"))?.unwrap_or(Value::Null);
    let named = |key: &str| -> Option<(u32, String)> {
        let text = [settings, &map]
            .into_iter()
            .find_map(|v| token_text(v.get(key)?))?;
        Some((tokenizer.token_to_id(text)?, text.to_string()))
    };
    let by_id = |id: u32| Some((id, tokenizer.id_to_token(id)?));

    let file = dir.join("generation_config.json");
    let generation = read_json(&file)?.unwrap_or(Value::Null);
    let generation_eos = token_ids(
        generation.get("eos_token_id").filter(|v| !v.is_null()),
        "eos_token_id",
    )
    .map_err(|e| Error::at(&file, e))?;
    let mut eos: Vec<(u32, String)> = named("eos_token").into_iter().collect();
    for id in generation_eos
        .into_iter()
        .chain(config.eos_token_id.clone())
    {
        if !eos.iter().any(|(known, _)| *known == id) {
            eos.extend(by_id(id));
        }
    }
    let bos = named("bos_token").or_else(|| by_id(config.bos_token_id?));
    let add_bos = match settings.get("add_bos_token").and_then(Value::as_bool) {
        Some(add) => add && bos.is_some(),
        None => puts_first(tokenizer, bos.as_ref()),
    };
    Ok(SpecialTokens { bos, eos, add_bos })
}

/// Whether the tokenizer's own post-processor begins a text with BOS.
fn puts_first(tokenizer: &Tokenizer, bos: Option<&(u32, String)>) -> bool {
    let Some((bos, _)) = bos else { return false };
    tokenizer
        .encode("a", true)
        .is_ok_and(|e| e.get_ids().first() == Some(bos))
}

/// From `tokenizer_config.json` (one, or the one named default), `chat_template.jinja` or
/// `chat_template.json`.
fn chat_template(dir: &Path, settings: &Value) -> Result<Option<String>> {
    let of = |value: &Value| -> Option<String> {
        match value.get("chat_template")? {
            Value::Array(list) => list
                .iter()
                .find(|t| t.get("name").is_some_and(|n| n == "default"))
                .or(list.first())
                .and_then(|t| Some(t.get("template")?.as_str()?.to_string())),
            one => one.as_str().map(str::to_string),
        }
    };
    if let Some(template) = of(settings) {
        return Ok(Some(template));
    }
    let file = dir.join("chat_template.jinja");
    if file.is_file() {
        return std::fs::read_to_string(&file)
            .map(Some)
            .map_err(Error::io(&file));
    }
    Ok(read_json(&dir.join("chat_template.json"))?
        .as_ref()
        .and_then(of))
}
