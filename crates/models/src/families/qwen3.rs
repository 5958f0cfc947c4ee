//! Qwen3: LLaMA's layers with a norm of each head's query and key, and a window in some layers
//! where its config.json turns it on.
//! Source: Yang et al. 2025; names and numerics are those of transformers' `Qwen3ForCausalLM`.

use super::{llama, windows};
use crate::config_json::Fields;
use crate::layer_spec::{LayerSpec, LayerWidths, Norm, Projection};
use crate::shape::{Config, Defaults, Family, HeadRows};
use serde_json::Value;

pub(super) static QWEN3: Family = Family {
    model_type: "qwen3",
    architecture: "Qwen3ForCausalLM",
    gguf_architecture: "qwen3",
    defaults: Defaults {
        context: 32_768,
        head_dim: Some(128),
        as_many_kv_heads: false,
        ..Defaults::LLAMA
    },
    partial_rotation: false,
    read_json,
    json_keys,
    layer,
    windowed: true,
    gguf_layers: windows::all,
    gguf_head_rows: HeadRows::Halves,
    // files name qwen2's
    gguf_pre_tokenizers: &[],
};

fn read_json(fields: &Fields, config: &mut Config) -> Result<(), String> {
    config.attention_bias = fields.flag("attention_bias")?;
    windows::read_qwen(fields, config)
}

fn json_keys(config: &Config) -> Vec<(&'static str, Value)> {
    let mut keys = vec![("attention_bias", config.attention_bias.into())];
    keys.extend(windows::write_qwen(config));
    keys
}

fn layer(widths: &LayerWidths, attention_bias: bool) -> LayerSpec {
    use Projection::{K, O, Q, V};
    let layer = llama::layer(widths)
        .norm(Norm::Query, "self_attn.q_norm", "attn_q_norm", widths.head)
        .norm(Norm::Key, "self_attn.k_norm", "attn_k_norm", widths.head);
    match attention_bias {
        true => layer.with_biases(&[Q, K, V, O]),
        false => layer,
    }
}
