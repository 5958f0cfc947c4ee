//! The files beside the weights of a Hugging Face directory: tokenizer, special tokens and chat
//! template.

use crate::hf_defaults::HfDefaults;
use crate::hf_files::{is_there, parse_json, read_bytes, read_json};
use crate::hf_template::chat_template;
use crate::peft::ADAPTER_CONFIG;
use crate::tokenizer_bombs::{bomb, probe};
use crate::{Config, Error, Result, SpecialTokens, hf_special};
use serde_json::Value;
use std::path::Path;
use tokenizers::Tokenizer;

/// What a Hugging Face directory has beside its weights.
pub struct HfDirectory {
    pub config: Config,
    pub tokenizer: Tokenizer,
    pub special: SpecialTokens,
    /// Jinja source of the model's own chat template, if it has one.
    pub chat_template: Option<String>,
    /// What a copy of the model keeps of these files.
    pub defaults: HfDefaults,
    /// How files that contradict each other were settled, a line each.
    pub notes: Vec<String>,
}

/// Reads config.json, the tokenizer, the special tokens and the chat template of a directory.
pub fn read_hf_directory(dir: &Path) -> Result<HfDirectory> {
    let config_file = dir.join("config.json");
    if !is_there(&config_file)? {
        return Err(no_config(dir));
    }
    if is_there(&dir.join(ADAPTER_CONFIG))? {
        let what = "beside the model there is an adapter_config.json, whose adapter transformers \
                    would apply and Wick does not; move adapter_config.json and \
                    adapter_model.safetensors into a directory of their own and give that to use \
                    the adapter, with this model as model.base (--base), or merge it \
                    (merge_and_unload of PEFT)";
        return Err(Error::at(dir, what));
    }
    let config = Config::read(&config_file)?;
    let mut notes = Vec::new();
    let settings = hf_special::settings(dir, &mut notes)?;
    let tokenizer = read_tokenizer(dir, &settings, &config)?;
    let special = hf_special::special(dir, &config, &tokenizer, &settings, &mut notes)?;
    let chat_template = chat_template(dir, &settings, &mut notes)?;
    let defaults = HfDefaults::read(dir, &tokenizer)?;
    Ok(HfDirectory {
        config,
        tokenizer,
        special,
        chat_template,
        defaults,
        notes,
    })
}

/// Why a directory without config.json is no model.
fn no_config(dir: &Path) -> Error {
    let adapter = match read_json(&dir.join(ADAPTER_CONFIG)) {
        Ok(Some(adapter)) => adapter,
        Ok(None) => {
            let what = "no config.json; this is not a Hugging Face model directory";
            return Error::at(dir, what);
        }
        Err(damaged) => return damaged,
    };
    let base = adapter["base_model_name_or_path"].as_str();
    let base = base.unwrap_or("which it does not name");
    let what = format!(
        "a PEFT adapter, not a model, and a whole model is needed here; merge it into its base \
         ({base}) with PEFT's merge_and_unload and give the merged directory"
    );
    Error::at(dir, what)
}

pub(crate) fn read_tokenizer(dir: &Path, settings: &Value, config: &Config) -> Result<Tokenizer> {
    let file = &dir.join("tokenizer.json");
    let Some(bytes) = read_bytes(file)? else {
        return Err(Error::at(
            file,
            match dir.join("tokenizer.model").exists() {
                true => {
                    "missing, and tokenizer.model is not read; make it with `python -c \"from \
                     transformers import AutoTokenizer as T; \
                     T.from_pretrained('.').save_pretrained('.')\"` in that directory"
                }
                false => "no such file",
            },
        ));
    };
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    // tokenizers panics where the file is not JSON, as when it was truncated
    let value = parse_json(file, bytes)?;
    if let Some(what) = bomb(&value) {
        return Err(Error::at(file, what));
    }
    if let Some(id) = unknown_special(&value["post_processor"]) {
        let what = format!("its post_processor inserts {id}, which its special_tokens lack");
        return Err(Error::at(file, what));
    }
    if let Some(merge) = bad_merge(&value["model"]) {
        let what = format!("the result of its merge {merge} is not in its vocabulary");
        return Err(Error::at(file, what));
    }
    let mut tokenizer = Tokenizer::from_bytes(bytes)
        .map_err(|e| Error::at(file, format!("not a tokenizer: {e}")))?;
    hf_special::add_tokens(dir, settings, &mut tokenizer)?;
    let tokenizer = prepare(tokenizer, config, file)?;
    match probe(&tokenizer) {
        Some(what) => Err(Error::at(file, what)),
        None => Ok(tokenizer),
    }
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

/// A merge whose result is not a token. tokenizers would panic where the result is longer than
/// every token.
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
