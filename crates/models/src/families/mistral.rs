//! Mistral: LLaMA's layers, whose tokens may see only a window of the last ones.
//! Source: Jiang et al. 2023; names and numerics are those of transformers' `MistralForCausalLM`.
//! In GGUF it is stored as llama, without its window.

use super::{llama, windows};
use crate::config_json::Fields;
use crate::shape::{Config, Defaults, Family, HeadRows, PreTokenizer, Split};

pub(super) static MISTRAL: Family = Family {
    model_type: "mistral",
    architecture: "MistralForCausalLM",
    gguf_architecture: "llama",
    defaults: Defaults {
        context: 131_072,
        as_many_kv_heads: false,
        ..Defaults::LLAMA
    },
    partial_rotation: false,
    read_json,
    json_keys: |config| vec![("sliding_window", config.sliding_window().into())],
    layer: |widths, _| llama::layer(widths),
    windowed: true,
    gguf_layers: windows::all,
    gguf_head_rows: HeadRows::Pairs,
    gguf_pre_tokenizers: &[PreTokenizer {
        names: &["tekken"],
        split: Split::Regex(
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ),
        nfc: false,
        ignore_merges: true,
        adds_bos: true,
    }],
};

/// A file without the key means 4,096, as in transformers; null means no window.
fn read_json(fields: &Fields, config: &mut Config) -> Result<(), String> {
    llama::refuse_biases(fields, "Mistral")?;
    let window = windows::window(fields, Some(4096))?;
    let types = windows::used_types(fields, config, window)?;
    if window.is_some() && types.is_some_and(|types| types.contains(&false)) {
        return Err("layer_types has full_attention; all layers of Mistral have the window".into());
    }
    windows::set(config, window, |_| true);
    Ok(())
}
