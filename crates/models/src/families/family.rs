//! What can differ between families of models. Each field is asked by one reader or writer; none
//! of them knows a family by name.

use crate::config_json::Fields;
use crate::layer_spec::{LayerSpec, LayerWidths};
use serde_json::Value;

/// A family of models: how its files name things and what its layers are made of.
pub struct Family {
    /// `model_type` of config.json.
    pub model_type: &'static str,
    /// The entry of `architectures` in config.json.
    pub architecture: &'static str,
    /// `general.architecture` of a GGUF file, and the prefix of its metadata keys.
    pub gguf_architecture: &'static str,
    /// `max_position_embeddings` where config.json has none.
    pub(crate) default_context: usize,
    /// Refuses settings of config.json that are not implemented.
    pub(crate) check_json: fn(&Fields) -> Result<(), String>,
    /// Keys of config.json that only this family has, as they are written.
    pub(crate) json_keys: fn() -> Vec<(&'static str, Value)>,
    pub(crate) layer: fn(&LayerWidths) -> LayerSpec,
    pub(crate) gguf_head_rows: HeadRows,
    /// Pre-tokenizers that GGUF files of this family name.
    pub(crate) gguf_pre_tokenizers: &'static [PreTokenizer],
}

/// In which order a GGUF file has the rows of a query or key head. Hugging Face always has halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadRows {
    /// First the first half of each rotated pair, then the second.
    Halves,
    /// The two halves of each rotated pair side by side.
    Pairs,
}

/// How a byte-level BPE tokenizer cuts a text before it merges, by `tokenizer.ggml.pre`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PreTokenizer {
    pub names: &'static [&'static str],
    pub split: Split,
    /// A text is put into Unicode's form NFC first.
    pub nfc: bool,
    /// A piece that is a token of its own is not merged from its parts.
    pub ignore_merges: bool,
    /// A text begins with BOS unless the file says otherwise.
    pub adds_bos: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Split {
    /// GPT-2's expression.
    Gpt2,
    /// Every digit alone, then GPT-2's expression.
    DigitsThenGpt2,
    Regex(&'static str),
}

impl std::fmt::Debug for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(self.model_type)
    }
}

impl PartialEq for Family {
    fn eq(&self, other: &Self) -> bool {
        self.model_type == other.model_type
    }
}
