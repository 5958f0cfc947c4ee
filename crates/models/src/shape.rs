//! The shape of a model, and what can differ between families. Each field of [`Family`] is asked by
//! one reader or writer; none of them knows a family by name.

use crate::config_json::Fields;
use crate::layer_spec::{LayerSpec, LayerWidths};
use crate::rope_scaling::RopeScaling;
use ops::AttentionSpec;
use serde_json::Value;

/// The shape of a model. Fields are named as in config.json; widths are in numbers,
/// `max_position_embeddings` in tokens.
///
/// ```
/// let json = serde_json::json!({
///     "model_type": "llama", "vocab_size": 64, "hidden_size": 16, "intermediate_size": 32,
///     "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
/// });
/// let config = models::Config::from_json(&json).unwrap();
/// assert_eq!(config.head_dim, 4);
/// assert_eq!(config.n_params(), 2 * (64 * 16) + 16 + 2 * (16 * (16 + 8 + 8 + 16 + 3 * 32) + 32));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub family: &'static Family,
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    pub head_dim: usize,
    pub rms_norm_eps: f64,
    pub max_position_embeddings: usize,
    pub tie_word_embeddings: bool,
    pub rope_theta: f64,
    pub rope_scaling: RopeScaling,
    /// The share of a head's numbers that is rotated, from its first on.
    pub partial_rotary_factor: f64,
    /// Biases of the attention's projections, where the family may have them.
    pub attention_bias: bool,
    /// One entry per layer.
    pub layers: Vec<LayerAttention>,
    pub bos_token_id: Option<u32>,
    /// Empty where the file names none.
    pub eos_token_id: Vec<u32>,
}

/// How the attention of one layer differs from that of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerAttention {
    /// Number of last tokens that a token sees, itself included; None: all.
    pub window: Option<usize>,
    /// Queries and keys are rotated to their positions.
    pub rotated: bool,
}

impl Default for LayerAttention {
    fn default() -> Self {
        Self {
            window: None,
            rotated: true,
        }
    }
}

impl Config {
    /// The parameters of each layer.
    pub(crate) fn layer(&self) -> LayerSpec {
        (self.family.layer)(&self.widths(), self.attention_bias)
    }

    /// The attention of a layer.
    pub(crate) fn attention(&self, layer: usize) -> AttentionSpec {
        let (heads, kv_heads) = (self.num_attention_heads, self.num_key_value_heads);
        let spec = AttentionSpec::new(heads, kv_heads, self.head_dim);
        spec.with_window(self.layers[layer].window)
    }

    /// Numbers of a head that are rotated.
    pub fn rotary_dim(&self) -> usize {
        (self.head_dim as f64 * self.partial_rotary_factor) as usize
    }

    /// Tokens beyond which a sequence has other rotation frequencies. A sequence must not grow over
    /// this length while it is decoded: its cached keys would no longer fit.
    pub fn rope_switch(&self) -> Option<usize> {
        match &self.rope_scaling {
            RopeScaling::LongRope(scaling) => Some(scaling.original_max_position_embeddings),
            _ => None,
        }
    }

    /// Tokens that any prompt and its answer can have together.
    pub fn decoding_context(&self) -> usize {
        self.limit_behind(0)
    }

    /// Tokens to which a sequence that begins with a prompt of `prompt` tokens can grow.
    pub fn limit_behind(&self, prompt: usize) -> usize {
        match self.rope_switch() {
            Some(switch) if prompt <= switch => switch.min(self.max_position_embeddings),
            _ => self.max_position_embeddings,
        }
    }

    /// The window of the layers that have one. All have the same.
    pub fn sliding_window(&self) -> Option<usize> {
        self.layers.iter().find_map(|layer| layer.window)
    }

    pub(crate) fn widths(&self) -> LayerWidths {
        LayerWidths {
            hidden: self.hidden_size,
            feed_forward: self.intermediate_size,
            queries: self.num_attention_heads * self.head_dim,
            keys: self.num_key_value_heads * self.head_dim,
            head: self.head_dim,
        }
    }
}

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
    /// It may have a window.
    pub(crate) windowed: bool,
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
