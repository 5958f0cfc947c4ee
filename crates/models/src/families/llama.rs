//! LLaMA 1 to 3, and what shares its layers: SmolLM, TinyLlama and others.
//! Source: Touvron et al. 2023; names and numerics are those of transformers' `LlamaForCausalLM`.
//! Biases, which its config.json could ask for, are refused: no released model has them.

use super::windows;
use crate::config_json::Fields;
use crate::layer_spec::{LayerSpec, LayerWidths, Norm, Projection};
use crate::shape::{Config, Defaults, Family, HeadRows, PreTokenizer, Split};
use serde_json::Value;

pub(super) static LLAMA: Family = Family {
    model_type: "llama",
    architecture: "LlamaForCausalLM",
    gguf_architecture: "llama",
    defaults: Defaults::LLAMA,
    partial_rotation: false,
    read_json,
    json_keys,
    layer: |widths, _| layer(widths),
    windowed: false,
    gguf_layers: windows::all,
    gguf_head_rows: HeadRows::Pairs,
    gguf_pre_tokenizers: &PRE_TOKENIZERS,
};

fn read_json(fields: &Fields, config: &mut Config) -> Result<(), String> {
    refuse_biases(fields, "LLaMA")?;
    windows::used_types(fields, config, None)?;
    Ok(())
}

pub(super) fn refuse_biases(fields: &Fields, family: &str) -> Result<(), String> {
    for key in ["attention_bias", "mlp_bias"] {
        if fields.flag(key)? {
            return Err(format!(
                "{key} = true is not supported; {family} has no biases"
            ));
        }
    }
    Ok(())
}

fn json_keys(_: &Config) -> Vec<(&'static str, Value)> {
    vec![("attention_bias", false.into()), ("mlp_bias", false.into())]
}

/// Norm, attention, norm, gated feed-forward.
pub(super) fn layer(widths: &LayerWidths) -> LayerSpec {
    use Projection::{Down, Gate, K, O, Q, Up, V};
    let LayerWidths {
        hidden: d,
        feed_forward: f,
        queries: q,
        keys: k,
        ..
    } = *widths;
    LayerSpec::default()
        .norm(Norm::Attention, "input_layernorm", "attn_norm", d)
        .projection(Q, "self_attn.q_proj", "attn_q", (q, d))
        .projection(K, "self_attn.k_proj", "attn_k", (k, d))
        .projection(V, "self_attn.v_proj", "attn_v", (k, d))
        .projection(O, "self_attn.o_proj", "attn_output", (d, q))
        .projection(Gate, "mlp.gate_proj", "ffn_gate", (f, d))
        .projection(Up, "mlp.up_proj", "ffn_up", (f, d))
        .projection(Down, "mlp.down_proj", "ffn_down", (d, f))
        .norm(Norm::FeedForward, "post_attention_layernorm", "ffn_norm", d)
}

const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

static PRE_TOKENIZERS: [PreTokenizer; 3] = [
    PreTokenizer {
        names: &["smollm", "starcoder", "refact"],
        split: Split::DigitsThenGpt2,
        nfc: false,
        ignore_merges: false,
        adds_bos: false,
    },
    PreTokenizer {
        names: &["llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral"],
        split: Split::Regex(LLAMA3),
        nfc: false,
        ignore_merges: true,
        adds_bos: true,
    },
    PreTokenizer {
        names: &["gpt-2", "gpt2"],
        split: Split::Gpt2,
        nfc: false,
        ignore_merges: false,
        adds_bos: false,
    },
];
