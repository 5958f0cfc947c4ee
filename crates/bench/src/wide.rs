//! Models of several widths with random weights (bf16, as models are published): what a step costs depends on shapes alone.

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;

pub(crate) const BLOCKS: usize = 12;
const HEAD: usize = 64;

/// A Hugging Face directory `out` of [`BLOCKS`] blocks with `like`'s tokenizer and vocabulary. Heads of 64, four of them to a head of keys and
/// values; a feed-forward of 11/4 of the width.
pub(crate) fn write(like: &Path, width: usize, out: &Path) -> Result<()> {
    std::fs::create_dir_all(out)?;
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(like.join(file), out.join(file)).with_context(|| file.to_string())?;
    }
    let text = std::fs::read_to_string(like.join("config.json"))?;
    let mut config: Value = serde_json::from_str(&text)?;
    let (heads, ffn) = (width / HEAD, width * 11 / 4);
    let shape = json!({
        "hidden_size": width, "intermediate_size": ffn, "num_hidden_layers": BLOCKS, "head_dim": HEAD,
        "num_attention_heads": heads, "num_key_value_heads": heads / 4,
    });
    let shape = shape.as_object().expect("an object").clone();
    config
        .as_object_mut()
        .context("config.json is no object")?
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
    for block in 0..BLOCKS {
        for (name, rows, columns) in [
            ("self_attn.q_proj", width, width),
            ("self_attn.k_proj", width / 4, width),
            ("self_attn.v_proj", width / 4, width),
            ("self_attn.o_proj", width, width),
            ("mlp.gate_proj", ffn, width),
            ("mlp.up_proj", ffn, width),
            ("mlp.down_proj", width, ffn),
        ] {
            put(format!("layers.{block}.{name}"), rows, columns)?;
        }
    }
    let norms = (0..BLOCKS).flat_map(|block| {
        ["input_layernorm", "post_attention_layernorm"].map(|name| format!("layers.{block}.{name}"))
    });
    for name in norms.chain(["norm".to_string()]) {
        let ones = Tensor::ones(width, DType::BF16, &Device::Cpu)?;
        weights.insert(format!("model.{name}.weight"), ones);
    }
    candle_core::safetensors::save(&weights, out.join("model.safetensors"))?;
    Ok(())
}
