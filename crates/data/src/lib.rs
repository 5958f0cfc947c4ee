//! Records, sources, templates, tokenising, collating and the resumable loader. No models.
//! (skeleton; split: record.rs, source/{alpaca,prompt_completion,chat,comparison,hh,pairs,fastchat,text}.rs, template.rs, tokenise.rs, split.rs, loader.rs, error.rs)

use serde::{Deserialize, Serialize};
use std::path::Path;

pub type Result<T> = std::result::Result<T, Error>;
/// A user's mistake in one line: file, row (1-based), field, what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub role: String,
    pub content: String,
}

/// What is asked, before any template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    Instruction {
        instruction: String,
        input: String,
    },
    Chat(Vec<Message>),
    /// already rendered text
    Raw(String),
}
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prompt {
    pub ask: Ask,
    /// a reference answer where the data has one
    pub reference: Option<String>,
}
impl Prompt {
    /// Stable identity of the question (hash of the ask's text): splits, ESRL's memory.
    pub fn key(&self) -> u64 {
        todo!()
    }
}
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Demonstration {
    pub prompt: Prompt,
    pub response: String,
}
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preference {
    pub prompt: Prompt,
    pub chosen: String,
    pub rejected: String,
}

/// `auto` sniffs by the fields of the first row. One file per format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    #[default]
    Auto,
    Alpaca,
    PromptCompletion,
    Chat,
    Text,
    ComparisonV1,
    ComparisonV2,
    Hh,
    Pairs,
    Fastchat,
}

pub fn demonstrations(_path: &Path, _format: Format) -> Result<Vec<Demonstration>> {
    todo!()
}
pub fn preferences(_path: &Path, _format: Format) -> Result<Vec<Preference>> {
    todo!()
}
/// Prompts of any format (demonstrations and preferences give theirs, without duplicates).
pub fn prompts(_path: &Path, _format: Format) -> Result<Vec<Prompt>> {
    todo!()
}

/// How an ask becomes text, and how an answer ends. Saved with every run as `template.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Template {
    /// Stanford Alpaca's two prompts (with and without input), ending in `### Response:`
    Alpaca,
    /// the model's own Jinja chat template
    Chat {
        source: String,
        bos: String,
        eos: String,
    },
    /// the ask's text as it is
    Raw,
}
impl Template {
    /// The text up to where the answer begins.
    pub fn render(&self, _ask: &Ask) -> Result<String> {
        todo!()
    }
}

/// Token ids of prompt and response, joined by construction: no text is searched for a boundary.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    pub ids: Vec<u32>,
    pub prompt_len: usize,
    pub key: u64,
}

/// Renders and tokenises: template + tokenizer + special tokens, one object used by every stage.
pub struct Encoder;
/// The part of the model's special tokens that encoding needs (llama::Special has the same fields; pipelines convert).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ends {
    pub bos: Option<u32>,
    pub add_bos: bool,
    pub eos: u32,
    pub stop: Vec<u32>,
}
impl Encoder {
    pub fn new(
        _tokenizer: tokenizers::Tokenizer,
        _template: Template,
        _ends: Ends,
    ) -> Result<Self> {
        todo!()
    }
    pub fn prompt(&self, _prompt: &Prompt) -> Result<Vec<u32>> {
        todo!()
    }
    /// response ids + EOS
    pub fn response(&self, _text: &str) -> Result<Vec<u32>> {
        todo!()
    }
    pub fn example(&self, _prompt: &Prompt, _response: &str) -> Result<Example> {
        todo!()
    }
    /// Text of response ids, special tokens left out.
    pub fn decode(&self, _ids: &[u32]) -> Result<String> {
        todo!()
    }
    pub fn ends(&self) -> &Ends {
        todo!()
    }
}

/// Held-out split by prompt key: the same prompt is never on both sides. Deterministic in seed.
pub fn split_by_key<T>(
    _items: Vec<T>,
    _key: impl Fn(&T) -> u64,
    _held_out: f64,
    _seed: u64,
) -> (Vec<T>, Vec<T>) {
    todo!()
}

/// Where a pass over the data stands; saved in checkpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    pub epoch: usize,
    pub index: usize,
}
/// Endless batches of indices: a fresh permutation per epoch from the stream (seed, "shuffle", epoch).
pub struct Loader;
impl Loader {
    pub fn new(_n_items: usize, _batch: usize, _seed: u64, _cursor: Cursor) -> Self {
        todo!()
    }
    /// Up to `batch` indices; a batch never crosses an epoch's end.
    pub fn next_batch(&mut self) -> Vec<usize> {
        todo!()
    }
    pub fn cursor(&self) -> Cursor {
        todo!()
    }
    pub fn batches_per_epoch(&self) -> usize {
        todo!()
    }
}
