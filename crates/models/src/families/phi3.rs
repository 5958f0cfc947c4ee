//! Phi-3, Phi-3.5 and Phi-4-mini: LLaMA's layers with one matrix for q, k and v and one for gate
//! and up, a window, and rotation of a part of each head.
//! Source: Abdin et al. 2024; names and numerics are those of transformers' `Phi3ForCausalLM`.

use super::{llama, windows};
use crate::config_json::Fields;
use crate::layer_spec::{LayerSpec, LayerWidths, Module, Norm, Projection};
use crate::rope_scaling::RopeScaling;
use crate::shape::{Config, Defaults, Family, HeadRows, PreTokenizer, Split};
use serde_json::Value;

/// `original_max_position_embeddings` where the file does not say.
const ORIGINAL: usize = 4096;

pub(super) static PHI3: Family = Family {
    model_type: "phi3",
    architecture: "Phi3ForCausalLM",
    gguf_architecture: "phi3",
    defaults: Defaults {
        context: 4096,
        original_context: Some(ORIGINAL),
        rms_norm_eps: 1e-5,
        ..Defaults::LLAMA
    },
    partial_rotation: true,
    read_json,
    json_keys,
    layer: |widths, _| layer(widths),
    windowed: true,
    gguf_layers: windows::all,
    gguf_head_rows: HeadRows::Halves,
    gguf_pre_tokenizers: &[PreTokenizer {
        names: &["gpt-4o"],
        split: Split::Regex(
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ),
        nfc: false,
        ignore_merges: false,
        adds_bos: false,
    }],
};

fn read_json(fields: &Fields, config: &mut Config) -> Result<(), String> {
    llama::refuse_biases(fields, "Phi-3")?;
    if !matches!(
        config.rope_scaling,
        RopeScaling::None | RopeScaling::LongRope(_)
    ) {
        return Err("Phi-3 has no RoPE scaling but longrope".into());
    }
    let original = "original_max_position_embeddings";
    if fields.get(original).is_none() && config.rope_switch().is_some_and(|n| n != ORIGINAL) {
        return Err(format!(
            "{original} is only in the RoPE scaling, where transformers does not read it for Phi-3; put it beside max_position_embeddings"
        ));
    }
    let window = windows::window(fields, None)?;
    windows::used_types(fields, config, window)?;
    windows::set(config, window, |_| true);
    Ok(())
}

fn json_keys(config: &Config) -> Vec<(&'static str, Value)> {
    let original = config.rope_switch();
    vec![
        (
            "original_max_position_embeddings",
            original.unwrap_or(config.max_position_embeddings).into(),
        ),
        ("partial_rotary_factor", config.partial_rotary_factor.into()),
        ("sliding_window", config.sliding_window().into()),
        // transformers' class has the id of one model
        ("pad_token_id", Value::Null),
    ]
}

fn layer(widths: &LayerWidths) -> LayerSpec {
    let LayerWidths {
        hidden: d,
        feed_forward: f,
        queries: q,
        keys: k,
        ..
    } = *widths;
    let (o, down) = (Projection::O, Projection::Down);
    let qkv = (&[q, k, k][..], d);
    let gate_up = (&[f, f][..], d);
    LayerSpec::default()
        .norm(Norm::Attention, "input_layernorm", "attn_norm", d)
        .fused(Module::Qkv, "self_attn.qkv_proj", "attn_qkv", qkv)
        .projection(o, "self_attn.o_proj", "attn_output", (d, q))
        .fused(Module::GateUp, "mlp.gate_up_proj", "ffn_up", gate_up)
        .projection(down, "mlp.down_proj", "ffn_down", (d, f))
        .norm(Norm::FeedForward, "post_attention_layernorm", "ffn_norm", d)
}
