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
use crate::{Config, HfDefaults, Result, SpecialTokens};
use config::{Factors, LONG_FACTORS, ROPE_FACTORS, SHORT_FACTORS, config};
use metadata::Metadata;
use part::Part;
use std::path::Path;
use tokenizer::{chat_template, other_tokens, special, tokenizer};
use tokenizers::Tokenizer;

/// The metadata of a file, and where its weights are.
pub(crate) struct Header {
    pub config: Config,
    pub tokenizer: Tokenizer,
    pub special: SpecialTokens,
    pub chat_template: Option<String>,
    /// What a copy of the model keeps of the metadata
    pub defaults: HfDefaults,
    /// What of the metadata is not used, a line each
    pub notes: Vec<String>,
    pub tensors: Tensors,
}

impl Header {
    /// Of a file, or of the first of the files that a model is split into.
    pub fn read(path: &Path) -> Result<Self> {
        let first = Part::open(path)?;
        let others = split::others(&first)?;
        let mut parts = vec![first];
        parts.extend(others);
        let mut numbers = |name| {
            let mut parts = parts.iter_mut();
            parts
                .find_map(|part| part.numbers(name).transpose())
                .transpose()
        };
        let factors = Factors {
            whole: numbers(ROPE_FACTORS)?,
            short: numbers(SHORT_FACTORS)?,
            long: numbers(LONG_FACTORS)?,
        };
        let n_others = factors.count();
        let meta = Metadata {
            path,
            content: &parts[0].content,
        };
        let config = config(&meta, factors, &parts)?;
        let tokenizer = prepare(tokenizer(&meta)?, &config, path)?;
        let special = special(&meta, &tokenizer)?;
        let config = Config {
            bos_token_id: special.bos.as_ref().map(|(id, _)| *id),
            eos_token_id: special.eos.iter().map(|(id, _)| *id).collect(),
            ..config
        };
        let chat_template = chat_template(&meta);
        let mut notes = Vec::new();
        let tokens = other_tokens(&meta, &tokenizer, &mut notes);
        Ok(Self {
            chat_template,
            defaults: HfDefaults::of_tokens(&tokens),
            notes,
            config,
            tokenizer,
            special,
            tensors: Tensors { parts, n_others },
        })
    }
}
