//! What can differ between families of models. Each field is asked by one reader or writer; none
//! of them knows a family by name.

use crate::Config;
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
    /// What its config.json may leave out.
    pub(crate) defaults: Defaults,
    /// It may rotate a part of each head.
    pub(crate) partial_rotation: bool,
    /// Reads the keys of config.json that only this family has, and refuses what is not
    /// implemented.
    pub(crate) read_json: fn(&Fields, &mut Config) -> Result<(), String>,
    /// Keys of config.json that only this family has, as they are written.
    pub(crate) json_keys: fn(&Config) -> Vec<(&'static str, Value)>,
    /// A layer of these widths, with or without biases of attention.
    pub(crate) layer: fn(&LayerWidths, bool) -> LayerSpec,
    /// Sets which layers have a window, of which a GGUF file stores only the width, and which
    /// rotate.
    pub(crate) gguf_layers: fn(&mut Config, Option<usize>),
    pub(crate) gguf_head_rows: HeadRows,
    /// Pre-tokenizers that GGUF files of this family name.
    pub(crate) gguf_pre_tokenizers: &'static [PreTokenizer],
}

/// The values that transformers' config class has for keys that are not there.
pub(crate) struct Defaults {
    /// `max_position_embeddings`
    pub context: usize,
    /// `original_max_position_embeddings`; None: the context.
    pub original_context: Option<usize>,
    pub rope_theta: f64,
    pub rms_norm_eps: f64,
    /// None: hidden size / heads.
    pub head_dim: Option<usize>,
    /// `num_key_value_heads` is that of the query heads. transformers has a number that fits one
    /// model for other families, so there the key must be given.
    pub as_many_kv_heads: bool,
    /// `tie_word_embeddings`
    pub tied: bool,
}

impl Defaults {
    pub const LLAMA: Self = Self {
        context: 2048,
        original_context: None,
        rope_theta: 10_000.0,
        rms_norm_eps: 1e-6,
        head_dim: None,
        as_many_kv_heads: true,
        tied: false,
    };
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
