//! Qwen2 and Qwen2.5: LLaMA's layers with biases on q, k and v, and a window in some layers where
//! its config.json turns it on.
//! Source: Yang et al. 2024; names and numerics are those of transformers' `Qwen2ForCausalLM`.

use super::{llama, windows};
use crate::layer_spec::{LayerSpec, LayerWidths, Projection};
use crate::shape::{Defaults, Family, HeadRows, PreTokenizer, Split};

pub(super) static QWEN2: Family = Family {
    model_type: "qwen2",
    architecture: "Qwen2ForCausalLM",
    gguf_architecture: "qwen2",
    defaults: Defaults {
        context: 32_768,
        as_many_kv_heads: false,
        ..Defaults::LLAMA
    },
    partial_rotation: false,
    read_json: windows::read_qwen,
    json_keys: windows::write_qwen,
    layer: |widths, _| layer(widths),
    windowed: true,
    gguf_layers: windows::all,
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

fn layer(widths: &LayerWidths) -> LayerSpec {
    let biased = [Projection::Q, Projection::K, Projection::V];
    llama::layer(widths).with_biases(&biased)
}
