//! The LLaMA family: config, weights in and out, LoRA adapters, heads and the KV cache. No training, no data.

mod activations;
mod block;
mod cache;
mod config;
mod error;
mod exact;
mod export;
mod fingerprint;
mod gguf;
mod gguf_head;
mod gguf_tokens;
mod head;
mod hub;
mod load;
mod lora;
mod model;
mod packed;
mod param;
mod peft;
mod proj;
mod rope;
mod safe;
mod source;
mod tokens;

pub use activations::Activations;
pub use cache::{KvCache, SeqId};
pub use config::{Config, RopeScaling};
pub use error::{Error, Result};
pub use head::ScalarHead;
pub use hub::Hub;
pub use load::{Loaded, load};
pub use lora::{Lora, LoraConfig};
pub use model::Llama;
pub use packed::{Packed, Sequence, micro_batches};
pub use source::Source;
pub use tokens::{Special, load_shape};
