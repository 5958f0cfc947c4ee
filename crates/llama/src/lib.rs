//! The LLaMA family: config, weights in and out, LoRA adapters, heads and the KV cache. No training, no data.
//! (skeleton: signatures that other crates rely on; split into one concept per file: config.rs, load.rs, gguf.rs, hub.rs, model.rs, lora.rs, peft.rs, head.rs, cache.rs, export.rs, error.rs)

use candle_core::{Device, Result as CResult, Tensor, Var};
use ops::Ragged;
use std::path::{Path, PathBuf};

/// Where a base model comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    Dir(PathBuf),
    Gguf(PathBuf),
    Hub(String),
}
impl Source {
    /// An existing directory or `.gguf` file, else a hub id such as `org/name` (an error names what was tried).
    pub fn parse(_text: &str) -> Result<Self> {
        todo!()
    }
}

pub type Result<T> = std::result::Result<T, Error>;
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Input(String),
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    #[error("{path}: {source}")]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Config {
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
    // + rope (theta, scaling), bos/eos ids
}

/// What comes with the weights: everything needed to talk to the model.
pub struct Loaded {
    pub model: Llama,
    pub tokenizer: tokenizers::Tokenizer,
    pub special: Special,
    /// Jinja source of the model's own chat template, if it has one.
    pub chat_template: Option<String>,
}
/// bos/eos text and ids. `eos` is never inferred from pad. `add_bos`: the tokenizer puts BOS before a plain text.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Special {
    pub bos: Option<(u32, String)>,
    pub eos: Vec<(u32, String)>,
    pub add_bos: bool,
}

pub fn load(_source: &Source, _device: &Device) -> Result<Loaded> {
    todo!()
}

/// A base model: weights held once, frozen (detached tensors) unless `trainable()` turned them into variables.
pub struct Llama {
    pub config: Config,
}
impl Llama {
    pub fn device(&self) -> &Device {
        todo!()
    }
    /// Fresh random weights (N(0, 0.02), norms 1), for pre-training the tiny world and for tests.
    pub fn init(_config: &Config, _seed: u64, _device: &Device) -> Result<Self> {
        todo!()
    }
    /// Turns every weight into a `Var` and returns them by Hugging Face name: full-parameter training.
    pub fn make_trainable(&mut self) -> Result<Vec<(String, Var)>> {
        todo!()
    }
    /// Final-norm hidden states [N, d] of a ragged batch, teacher-forced. Records a graph exactly when the adapter's
    /// (or the base's) parameters are variables. `dropout` (LoRA dropout, training only) draws from its own stream.
    pub fn hidden(
        &self,
        _ids: &[u32],
        _layout: &Ragged,
        _lora: Option<&Lora>,
        _dropout: Option<u64>,
    ) -> CResult<Tensor> {
        todo!()
    }
    /// The vocabulary head [V, d].
    pub fn head(&self) -> &Tensor {
        todo!()
    }
    /// Hidden states of new tokens while writing them into the cache: for each i, `seqs[i]` is extended by
    /// `layout.len(i)` tokens. No graph. Prefill and decode are the same call (decode: all lengths 1).
    pub fn extend(
        &self,
        _ids: &[u32],
        _layout: &Ragged,
        _seqs: &[SeqId],
        _cache: &mut KvCache,
        _lora: Option<&Lora>,
    ) -> CResult<Tensor> {
        todo!()
    }
    /// Merged copy: W + scale·B·A.
    pub fn merged(&self, _lora: &Lora) -> Result<Llama> {
        todo!()
    }
    /// Hugging Face directory that transformers, vLLM and llama.cpp's converter load.
    pub fn save_hf(
        &self,
        _dir: &Path,
        _tokenizer: &tokenizers::Tokenizer,
        _special: &Special,
        _chat_template: Option<&str>,
    ) -> Result<()> {
        todo!()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SeqId(pub usize);
/// Keys and values of sequences in flight; a sequence may share its prefix with a parent.
pub struct KvCache;
impl KvCache {
    pub fn new(_model: &Llama) -> CResult<Self> {
        todo!()
    }
    /// A sequence with room for `capacity` own tokens; with a parent it begins where the parent now ends, sharing its rows.
    pub fn open(&mut self, _parent: Option<SeqId>, _capacity: usize) -> CResult<SeqId> {
        todo!()
    }
    pub fn len(&self, _seq: SeqId) -> usize {
        todo!()
    }
    /// Frees the rows once the sequence and its children are closed.
    pub fn close(&mut self, _seq: SeqId) {
        todo!()
    }
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoraConfig {
    pub r: usize,
    pub alpha: f64,
    pub dropout: f64,
    /// of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj
    pub targets: Vec<String>,
    pub rslora: bool,
}
impl Default for LoraConfig {
    fn default() -> Self {
        Self {
            r: 8,
            alpha: 32.0,
            dropout: 0.0,
            targets: vec!["q_proj".into(), "v_proj".into()],
            rslora: false,
        }
    }
}
/// One adapter. Trainable (its parameters are `Var`s) or frozen (detached copies of the same numbers).
pub struct Lora {
    pub config: LoraConfig,
}
impl Lora {
    /// A ~ kaiming uniform(a=sqrt 5), B = 0, as PEFT. Error when a target matches no layer.
    pub fn init(_config: &LoraConfig, _model: &Llama, _seed: u64) -> Result<Self> {
        todo!()
    }
    /// PEFT directory (adapter_config.json + adapter_model.safetensors); checks shapes and names against the model. Frozen.
    pub fn load(_dir: &Path, _model: &Llama) -> Result<Self> {
        todo!()
    }
    pub fn save(&self, _dir: &Path, _base_name: &str) -> Result<()> {
        todo!()
    }
    /// A trainable copy with its own variables.
    pub fn trainable(&self) -> CResult<Self> {
        todo!()
    }
    /// A frozen copy sharing no graph with this one (same storage where possible).
    pub fn frozen(&self) -> Self {
        todo!()
    }
    /// Trainable parameters by PEFT key (empty when frozen), in a fixed order.
    pub fn vars(&self) -> Vec<(String, Var)> {
        todo!()
    }
}

/// A scalar head `[1, d]` (+ bias) read off hidden states: reward or value.
pub struct ScalarHead;
impl ScalarHead {
    pub fn init(_hidden_size: usize, _std: f64, _seed: u64, _device: &Device) -> CResult<Self> {
        todo!()
    }
    pub fn zeros(_hidden_size: usize, _device: &Device) -> CResult<Self> {
        todo!()
    }
    /// [M, d] -> [M], f32.
    pub fn apply(&self, _hidden: &Tensor) -> CResult<Tensor> {
        todo!()
    }
    pub fn trainable(&self) -> CResult<Self> {
        todo!()
    }
    pub fn frozen(&self) -> Self {
        todo!()
    }
    /// names `weight`, `bias`
    pub fn vars(&self) -> Vec<(String, Var)> {
        todo!()
    }
    pub fn save(&self, _file: &Path) -> Result<()> {
        todo!()
    }
    pub fn load(_file: &Path, _hidden_size: usize, _device: &Device) -> Result<Self> {
        todo!()
    }
}
