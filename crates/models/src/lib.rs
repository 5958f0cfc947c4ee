//! Decoder-only language models: config, weights in and out, LoRA adapters, scalar heads and the KV
//! cache. No training, no data.
//!
//! A family of models is one file of `families/`: which keys its files have, and which parameters a
//! layer has. Loaders, forward passes, adapters and memory counts walk that description.

mod activations;
mod adapter_tokenizer;
mod base_weights;
mod bf16_exact;
mod cached_forward;
mod causal_lm;
mod config;
mod config_json;
mod error;
mod families;
mod fingerprint;
mod forward;
mod gguf;
mod hf_defaults;
mod hf_files;
mod hf_shards;
mod hf_special;
mod hf_template;
mod hf_tokenizer;
mod hf_weights;
mod hub_model;
mod kv_cache;
mod layer;
mod layer_spec;
mod linear;
mod lora;
mod lora_config;
mod lora_init;
mod lora_targets;
mod merge;
mod model_meta;
mod model_source;
mod model_spec;
mod packed;
mod parameter;
mod peft;
mod peft_config;
mod rope_scaling;
mod rope_tables;
mod safetensors_file;
mod sampling_weights;
mod save_hf;
mod scalar_head;
mod shape;
mod tokenizer_bombs;
mod weight_storage;
mod weights_meta;

pub use activations::Activations;
pub use adapter_tokenizer::adapter_chat_template;
pub use base_weights::BaseWeights;
pub use causal_lm::CausalLm;
pub use error::{Error, Result};
pub use families::FAMILIES;
pub use hf_defaults::HfDefaults;
pub use hf_special::SpecialTokens;
pub use hf_tokenizer::{HfDirectory, read_hf_directory};
pub use hub_model::{Fetch, fetch_model};
pub use kv_cache::{KvCache, SeqId};
pub use lora::Lora;
pub use lora_config::LoraConfig;
pub use lora_targets::LoraTargets;
pub use model_meta::{Loaded, ModelMeta, load, model_meta};
pub use model_source::ModelSource;
pub use packed::{Packed, Sequence, micro_batches};
pub use peft::{AdapterBase, is_adapter};
pub use rope_scaling::{LongRope, RopeScaling, Yarn};
pub use sampling_weights::SamplingWeights;
pub use scalar_head::ScalarHead;
pub use shape::{Config, Family, LayerAttention};
pub use weight_storage::WeightStorage;
pub use weights_meta::WeightsMeta;
