//! Added and special tokens, which up to six files of a Hugging Face directory name. Where they
//! contradict each other it is settled as transformers 5 does, and said, or refused with both
//! sides.

use crate::config_json::token_ids;
use crate::hf_files::read_json;
use crate::{Config, Error, Result};
use serde_json::{Map, Value};
use std::path::Path;
use tokenizers::{AddedToken, Tokenizer};

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

const CONFIG: &str = "tokenizer_config.json";
const MAP: &str = "special_tokens_map.json";
const ADDED: &str = "added_tokens.json";
const GENERATION: &str = "generation_config.json";
/// The keys of tokenizer_config.json that name one token.
pub(crate) const NAMED: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];
/// Lists of tokens; the second is transformers 5's name of the first.
pub(crate) const LISTS: [&str; 2] = ["additional_special_tokens", "extra_special_tokens"];

/// The settings of tokenizer_config.json as transformers sees them: those of
/// special_tokens_map.json over them, unless the config has `added_tokens_decoder`.
pub(crate) fn settings(dir: &Path, notes: &mut Vec<String>) -> Result<Value> {
    let mut settings = read_json(&dir.join(CONFIG))?.unwrap_or(Value::Object(Map::new()));
    let Some(known) = settings.as_object_mut() else {
        return Err(Error::at(&dir.join(CONFIG), "not a JSON object"));
    };
    let map = read_json(&dir.join(MAP))?.unwrap_or(Value::Null);
    let decoder = known
        .get("added_tokens_decoder")
        .is_some_and(|v| !v.is_null());
    for (key, of_map) in map.as_object().into_iter().flatten() {
        let is_token = NAMED.contains(&key.as_str());
        let of_config = known.get(key).filter(|value| !value.is_null());
        let differs = of_config.is_some_and(|v| token_text(v) != token_text(of_map));
        if is_token && differs {
            let text =
                |value: Option<&Value>| value.and_then(token_text).unwrap_or("none").to_string();
            let (used, not) = match decoder {
                true => (CONFIG, MAP),
                false => (MAP, CONFIG),
            };
            notes.push(format!(
                "{key} is {:?} in {CONFIG} and {:?} in {MAP}; that of {used} is used, not that of \
                 {not}, as in transformers",
                text(of_config),
                text(Some(of_map)),
            ));
        }
        // A token that the config does not name at all is no contradiction.
        if !decoder || of_config.is_none() {
            known.insert(key.clone(), of_map.clone());
        }
    }
    Ok(settings)
}

/// Adds the tokens that only the files beside tokenizer.json have, and makes special those that
/// they say are.
pub(crate) fn add_tokens(dir: &Path, settings: &Value, tokenizer: &mut Tokenizer) -> Result<()> {
    let mut tokens = declared(dir, settings)?;
    tokens.sort_by_key(|(id, ..)| *id);
    for (id, token, file) in tokens {
        let content = token.content.clone();
        let refuse = |what: String| {
            let file = dir.join(file);
            Err(Error::at(
                &file,
                format!("{what}; the files are of different tokenizers"),
            ))
        };
        match (tokenizer.token_to_id(&content), tokenizer.id_to_token(id)) {
            (Some(found), _) if found != id => {
                return refuse(format!(
                    "gives {content:?} the id {id}, but tokenizer.json gives it {found}"
                ));
            }
            (_, Some(other)) if other != content => {
                return refuse(format!(
                    "gives {content:?} the id {id}, which is {other:?} in tokenizer.json"
                ));
            }
            _ => {}
        }
        let known = tokenizer.get_added_tokens_decoder();
        if known.get(&id) == Some(&token) {
            continue;
        }
        tokenizer
            .add_tokens([token])
            .map_err(|e| Error::at(&dir.join(file), e))?;
        let found = tokenizer.token_to_id(&content);
        if found != Some(id) {
            return refuse(format!(
                "gives {content:?} the id {id}, but the next free id of tokenizer.json is {}",
                found.map_or("none".to_string(), |id| id.to_string())
            ));
        }
    }
    make_special(settings, tokenizer).map_err(|e| Error::at(&dir.join(CONFIG), e))
}

/// The tokens of `added_tokens_decoder`, or of added_tokens.json where there is none, with the
/// file that names them.
fn declared(dir: &Path, settings: &Value) -> Result<Vec<(u32, AddedToken, &'static str)>> {
    let wrong = |file: &str, what: &dyn std::fmt::Display| Error::at(&dir.join(file), what);
    if let Some(Value::Object(decoder)) = settings.get("added_tokens_decoder") {
        let tokens = decoder.iter().map(|(id, token)| {
            let number = id.parse().ok();
            let content = token["content"].as_str();
            let (Some(id), Some(content)) = (number, content) else {
                let what =
                    format!("added_tokens_decoder has {id:?}: {token}, which is not a token");
                return Err(wrong(CONFIG, &what));
            };
            let flag = |key: &str| token[key].as_bool().unwrap_or(false);
            let special = flag("special");
            let token = AddedToken::from(content, special)
                .lstrip(flag("lstrip"))
                .rstrip(flag("rstrip"))
                .single_word(flag("single_word"))
                .normalized(token["normalized"].as_bool().unwrap_or(!special));
            Ok((id, token, CONFIG))
        });
        return tokens.collect();
    }
    let added = read_json(&dir.join(ADDED))?.unwrap_or(Value::Null);
    let special = special_texts(settings);
    let tokens = added
        .as_object()
        .into_iter()
        .flatten()
        .map(|(content, id)| {
            let number = id.as_u64().and_then(|id| u32::try_from(id).ok());
            let id = number.ok_or_else(|| {
                wrong(
                    ADDED,
                    &format!("{content:?} has the id {id}, which is not a token id"),
                )
            })?;
            let special = special.contains(&content.as_str());
            Ok((id, AddedToken::from(content.as_str(), special), ADDED))
        });
    let known = tokens.collect::<Result<Vec<_>>>()?;
    Ok(known)
}

/// Every text that the settings name as a special token.
fn special_texts(settings: &Value) -> Vec<&str> {
    let named = NAMED
        .iter()
        .filter_map(|key| token_text(settings.get(key)?));
    let lists = LISTS.iter().filter_map(|key| settings.get(key)?.as_array());
    named
        .chain(lists.flatten().filter_map(token_text))
        .collect()
}

/// Named tokens that the vocabulary has, but not among the added ones, become special.
fn make_special(settings: &Value, tokenizer: &mut Tokenizer) -> tokenizers::Result<()> {
    for text in special_texts(settings) {
        let known = tokenizer.get_added_tokens_decoder();
        let is_added = known.values().any(|token| token.content == text);
        if !is_added && tokenizer.token_to_id(text).is_some() {
            tokenizer.add_special_tokens([AddedToken::from(text, true)])?;
        }
    }
    Ok(())
}

/// A token that is given as text or as `{"content": text}`.
pub(crate) fn token_text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("content")?.as_str())
}

/// BOS and EOS. The tokenizer's EOS comes first, then those at which generation stops.
pub(crate) fn special(
    dir: &Path,
    config: &Config,
    tokenizer: &Tokenizer,
    settings: &Value,
    notes: &mut Vec<String>,
) -> Result<SpecialTokens> {
    let named = |key: &str| -> Result<Option<(u32, String)>> {
        let Some(text) = settings.get(key).and_then(token_text) else {
            return Ok(None);
        };
        match tokenizer.token_to_id(text) {
            Some(id) => Ok(Some((id, text.to_string()))),
            None => Err(Error::at(
                &dir.join(CONFIG),
                format!(
                    "{key} is {text:?}, but tokenizer.json has no such token; name one that it has, or \
                     add it to tokenizer.json"
                ),
            )),
        }
    };
    if let Err(error) = named("pad_token") {
        notes.push(format!("{error}; nothing is padded, so it is not used"));
    }
    let file = dir.join(GENERATION);
    let generation = read_json(&file)?.unwrap_or(Value::Null);
    let of_generation = token_ids(
        generation.get("eos_token_id").filter(|v| !v.is_null()),
        "eos_token_id",
    )
    .map_err(|e| Error::at(&file, e))?;
    let (stops, source, other) = match of_generation.is_empty() {
        true => (&config.eos_token_id, "config.json", &of_generation),
        false => (&of_generation, GENERATION, &config.eos_token_id),
    };
    let mut eos: Vec<(u32, String)> = named("eos_token")?.into_iter().collect();
    let mut add = |id: u32| match tokenizer.id_to_token(id) {
        Some(text) if eos.iter().all(|(known, _)| *known != id) => eos.push((id, text)),
        Some(_) => {}
        None => notes.push(format!(
            "eos_token_id {id} of {source} is not in tokenizer.json; it is not used"
        )),
    };
    stops.iter().copied().for_each(&mut add);
    let unused = other
        .iter()
        .filter(|id| eos.iter().all(|(known, _)| known != *id));
    let unused: Vec<String> = unused.map(ToString::to_string).collect();
    if !unused.is_empty() {
        notes.push(format!(
            "config.json's eos_token_id {} is not among those of {GENERATION}, which count, as in \
             transformers",
            unused.join(", ")
        ));
    }
    let by_id = |id: u32| Some((id, tokenizer.id_to_token(id)?));
    let bos = match named("bos_token")? {
        Some(bos) => Some(bos),
        None => config.bos_token_id.and_then(by_id),
    };
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
