//! The shape of a model from a GGUF file's metadata. Names: llama.cpp's `convert_hf_to_gguf.py`.

use super::metadata::Metadata;
use crate::families::{self, Family};
use crate::rope_tables::frequencies;
use crate::{Config, Error, LayerAttention, Result, RopeScaling};

/// Factors by which llama.cpp's converter divides LLaMA 3.1's frequencies.
pub(crate) const ROPE_FACTORS: &str = "rope_freqs.weight";

pub(crate) fn config(meta: &Metadata, rope_factors: Option<&[f32]>) -> Result<Config> {
    let refuse = |what: String| Err(Error::at(meta.path, what));
    let family = find_family(meta)?;
    let key = |name: &str| format!("{}.{name}", family.gguf_architecture);
    if meta.uint(&key("expert_count"))?.unwrap_or(0) > 0 {
        return refuse("a mixture of experts is not supported".into());
    }
    let hidden_size = meta.size(&key("embedding_length"))?;
    let heads = meta.size(&key("attention.head_count"))?;
    let head_dim = match meta.opt_size(&key("attention.key_length"))? {
        Some(n) => n,
        None => hidden_size / heads,
    };
    let rotated = meta.opt_size(&key("rope.dimension_count"))?;
    let num_hidden_layers = meta.size(&key("block_count"))?;
    let vocab_size = match meta.content.tensor_infos.get("token_embd.weight") {
        Some(info) => info.shape.dims().first().copied().unwrap_or(0),
        None => return refuse("tensor token_embd.weight is missing".into()),
    };
    let eps = key("attention.layer_norm_rms_epsilon");
    let max_position_embeddings = meta.size(&key("context_length"))?;
    let mut config = Config {
        family,
        vocab_size,
        hidden_size,
        intermediate_size: meta.size(&key("feed_forward_length"))?,
        num_hidden_layers,
        num_attention_heads: heads,
        num_key_value_heads: meta
            .opt_size(&key("attention.head_count_kv"))?
            .unwrap_or(heads),
        head_dim,
        rms_norm_eps: shortest(
            meta.number(&eps)?
                .ok_or_else(|| meta.wrong(&eps, "missing"))?,
        ),
        max_position_embeddings,
        tie_word_embeddings: !meta.content.tensor_infos.contains_key("output.weight"),
        rope_theta: meta.number(&key("rope.freq_base"))?.unwrap_or(10_000.0),
        rope_scaling: RopeScaling::None,
        partial_rotary_factor: rotated.map_or(1.0, |n| n as f64 / head_dim as f64),
        attention_bias: false,
        layers: vec![LayerAttention::default(); num_hidden_layers.min(10_000)],
        bos_token_id: None,
        eos_token_id: Vec::new(),
    };
    config.check().map_err(|e| Error::at(meta.path, e))?;
    config.rope_scaling = match (meta.text(&key("rope.scaling.type")), rope_factors) {
        (None | Some("none"), None) => RopeScaling::None,
        (None | Some("none"), Some(factors)) => llama3_scaling(&config, factors)
            .ok_or_else(|| meta.wrong(ROPE_FACTORS, "not a scaling of LLaMA 3's kind"))?,
        (Some("linear"), None) => {
            let factor = key("rope.scaling.factor");
            let number = meta.number(&factor)?;
            RopeScaling::Linear {
                factor: number.ok_or_else(|| meta.wrong(&factor, "missing"))?,
            }
        }
        (Some(other), _) => return refuse(format!("RoPE scaling \"{other}\" is not supported")),
    };
    config.check().map_err(|e| Error::at(meta.path, e))?;
    Ok(config)
}

fn find_family(meta: &Metadata) -> Result<&'static Family> {
    let name = meta.text("general.architecture").unwrap_or("missing");
    families::find(|family| family.gguf_architecture == name).ok_or_else(|| {
        let supported = families::names(|family| family.gguf_architecture);
        let what = format!("architecture \"{name}\" is not supported; supported: {supported}");
        Error::at(meta.path, what)
    })
}

/// The f64 that prints like the f32 it came from: 1e-5 and not 9.999999747378752e-6.
fn shortest(value: f64) -> f64 {
    (value as f32).to_string().parse().unwrap_or(value)
}

/// The one setting of LLaMA 3.1 and 3.2 (ramp between wavelengths 8192/4 and 8192/1) that has these
/// factors.
fn llama3_scaling(config: &Config, factors: &[f32]) -> Option<RopeScaling> {
    // before tables of head_dim are made, which may be any number in a corrupt file
    if factors.len() != config.head_dim / 2 {
        return None;
    }
    let factor = factors.iter().copied().fold(1.0, f32::max);
    let scaling = RopeScaling::Llama3 {
        factor: f64::from(factor),
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 8192,
    };
    let plain = frequencies(config, false);
    let scaled = frequencies(
        &Config {
            rope_scaling: scaling.clone(),
            ..config.clone()
        },
        false,
    );
    let same = plain
        .iter()
        .zip(&scaled)
        .zip(factors)
        .all(|((p, s), f)| (p / s / f - 1.0).abs() < 1e-3);
    same.then_some(scaling)
}
