//! A base model from a GGUF file, or from the files it is split into. Shape, tokenizer, special
//! tokens and chat template come from its metadata; weights stay in quantised blocks or become f32.
//! Format: ggml's `docs/gguf.md`; names and the order of the rows of q and k: llama.cpp's
//! `convert_hf_to_gguf.py`.

mod alignment;
mod config;
mod metadata;
mod part;
mod split;
mod tensors;
mod tokenizer;

pub(crate) use tensors::Tensors;

use crate::hf_tokenizer::prepare;
use crate::{Config, Result, SpecialTokens};
use config::{Factors, LONG_FACTORS, ROPE_FACTORS, SHORT_FACTORS, config};
use metadata::Metadata;
use part::Part;
use std::path::Path;
use tokenizer::{chat_template, special, tokenizer};
use tokenizers::Tokenizer;

/// The metadata of a file, and where its weights are.
pub(crate) struct Header {
    pub config: Config,
    pub tokenizer: Tokenizer,
    pub special: SpecialTokens,
    pub chat_template: Option<String>,
    pub tensors: Tensors,
}

impl Header {
    /// Of a file, or of the first of the files that a model is split into.
    pub fn read(path: &Path) -> Result<Self> {
        let mut first = Part::open(path)?;
        let others = split::others(&first)?;
        let factors = [ROPE_FACTORS, SHORT_FACTORS, LONG_FACTORS];
        let mut factors = factors.map(|name| (name, None));
        for (name, values) in &mut factors {
            *values = first.numbers(name)?;
        }
        let meta = Metadata {
            path,
            content: &first.content,
        };
        let n_others = factors
            .iter()
            .filter(|(_, values)| values.is_some())
            .count();
        let [whole, short, long] = factors.map(|(_, values)| values);
        let names = || {
            let parts = [&first].into_iter().chain(&others);
            parts.flat_map(|part| part.content.tensor_infos.keys())
        };
        let has_head = names().any(|name| name == "output.weight");
        let config = config(&meta, Factors { whole, short, long }, has_head)?;
        let tokenizer = prepare(tokenizer(&meta)?, &config, path)?;
        let special = special(&meta, &tokenizer)?;
        let config = Config {
            bos_token_id: special.bos.as_ref().map(|(id, _)| *id),
            eos_token_id: special.eos.iter().map(|(id, _)| *id).collect(),
            ..config
        };
        let chat_template = chat_template(&meta);
        let mut parts = vec![first];
        parts.extend(others);
        Ok(Self {
            chat_template,
            config,
            tokenizer,
            special,
            tensors: Tensors { parts, n_others },
        })
    }
}
