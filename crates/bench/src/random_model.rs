//! Models of several widths with random weights in bf16: the cost of a step depends only on shapes.

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;

pub(crate) const LAYERS: usize = 12;
/// Width of a head.
const HEAD: usize = 64;

/// Writes a Hugging Face directory `out` of [`LAYERS`] layers with the tokenizer and vocabulary of
/// `like`. Heads have a width of 64, four query heads share a key head, and the feed-forward width
/// is 11/4 of the model's.
pub(crate) fn write(like: &Path, width: usize, out: &Path) -> Result<()> {
    std::fs::create_dir_all(out)?;
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(like.join(file), out.join(file)).with_context(|| file.to_string())?;
    }
    let text = std::fs::read_to_string(like.join("config.json"))?;
    let mut config: Value = serde_json::from_str(&text)?;
    let (heads, ffn) = (width / HEAD, width * 11 / 4);
    let shape = json!({
        "hidden_size": width, "intermediate_size": ffn, "num_hidden_layers": LAYERS, "head_dim": HEAD,
        "num_attention_heads": heads, "num_key_value_heads": heads / 4,
    });
    let shape = shape.as_object().expect("an object").clone();
    config
        .as_object_mut()
        .context("config.json is not an object")?
        .extend(shape);
    std::fs::write(out.join("config.json"), config.to_string())?;

    let vocab = config["vocab_size"].as_u64().context("vocab_size")? as usize;
    let mut weights = HashMap::new();
    let mut put = |name: String, rows: usize, columns: usize| -> Result<()> {
        let weight = Tensor::randn(0f32, 0.02, (rows, columns), &Device::Cpu)?;
        let weight = weight.to_dtype(DType::BF16)?;
        weights.insert(format!("model.{name}.weight"), weight);
        Ok(())
    };
    put("embed_tokens".into(), vocab, width)?;
    for layer in 0..LAYERS {
        for (name, rows, columns) in [
            ("self_attn.q_proj", width, width),
            ("self_attn.k_proj", width / 4, width),
            ("self_attn.v_proj", width / 4, width),
            ("self_attn.o_proj", width, width),
            ("mlp.gate_proj", ffn, width),
            ("mlp.up_proj", ffn, width),
            ("mlp.down_proj", width, ffn),
        ] {
            put(format!("layers.{layer}.{name}"), rows, columns)?;
        }
    }
    let norms = (0..LAYERS).flat_map(|layer| {
        ["input_layernorm", "post_attention_layernorm"].map(|name| format!("layers.{layer}.{name}"))
    });
    for name in norms.chain(["norm".to_string()]) {
        let ones = Tensor::ones(width, DType::BF16, &Device::Cpu)?;
        weights.insert(format!("model.{name}.weight"), ones);
    }
    candle_core::safetensors::save(&weights, out.join("model.safetensors"))?;
    Ok(())
}
