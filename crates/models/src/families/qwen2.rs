//! Qwen2 and Qwen2.5: LLaMA's layers with biases on q, k and v.
//! Source: Yang et al. 2024; names and numerics are those of transformers' `Qwen2ForCausalLM`.
//! Sliding windows, which its config.json could ask for, are refused: released models turn them
//! off.

use super::family::{Family, HeadRows, PreTokenizer, Split};
use super::llama;
use crate::config_json::Fields;
use crate::layer_spec::{LayerSpec, LayerWidths, Projection};
use serde_json::Value;

pub(super) static QWEN2: Family = Family {
    model_type: "qwen2",
    architecture: "Qwen2ForCausalLM",
    gguf_architecture: "qwen2",
    default_context: 32_768,
    check_json,
    json_keys,
    layer,
    gguf_head_rows: HeadRows::Halves,
    gguf_pre_tokenizers: &[PreTokenizer {
        names: &["qwen2", "deepseek-r1-qwen"],
        split: Split::Regex(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ),
        nfc: true,
        ignore_merges: false,
        adds_bos: false,
    }],
};

/// Refuses a window that is shorter than the context. transformers slides it in the layers from
/// `max_window_layers` on, or in those that `layer_types` names.
fn check_json(fields: &Fields) -> Result<(), String> {
    let windowed = match fields.get("layer_types").and_then(Value::as_array) {
        Some(types) => types.iter().any(|kind| kind == "sliding_attention"),
        None => {
            let first = match fields.get("max_window_layers").and_then(Value::as_u64) {
                Some(first) => first as usize,
                None => 28,
            };
            first < fields.size("num_hidden_layers")?
        }
    };
    let window = fields.opt_size("sliding_window")?.unwrap_or(4096);
    let context = fields.opt_size("max_position_embeddings")?;
    let context = context.unwrap_or(QWEN2.default_context);
    if fields.flag("use_sliding_window")? && windowed && window < context {
        return Err(format!(
            "use_sliding_window = true with sliding_window = {window} below the context of {context} is not supported"
        ));
    }
    Ok(())
}

fn json_keys() -> Vec<(&'static str, Value)> {
    vec![("use_sliding_window", false.into())]
}

fn layer(widths: &LayerWidths) -> LayerSpec {
    let biased = [Projection::Q, Projection::K, Projection::V];
    llama::layer(widths).with_biases(&biased)
}
