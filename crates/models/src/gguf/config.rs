//! The shape of a model from a GGUF file's metadata. Names: llama.cpp's `convert_hf_to_gguf.py`.

use super::metadata::Metadata;
use super::part::Part;
use crate::config::MAX_LAYERS;
use crate::families;
use crate::rope_tables::frequencies;
use crate::shape::Family;
use crate::{Config, Error, LayerAttention, LongRope, Result, RopeScaling, Yarn};

/// Factors by which llama.cpp's converter divides LLaMA 3.1's frequencies.
pub(crate) const ROPE_FACTORS: &str = "rope_freqs.weight";
/// Phi-3's factors of short and of long sequences.
pub(crate) const SHORT_FACTORS: &str = "rope_factors_short.weight";
pub(crate) const LONG_FACTORS: &str = "rope_factors_long.weight";

/// The tensors of factors that a file has.
pub(super) struct Factors {
    pub whole: Option<Vec<f32>>,
    pub short: Option<Vec<f32>>,
    pub long: Option<Vec<f32>>,
}

impl Factors {
    /// How many there are.
    pub fn count(&self) -> usize {
        let all = [&self.whole, &self.short, &self.long];
        all.iter().filter(|factors| factors.is_some()).count()
    }
}

pub(super) fn config(meta: &Metadata, factors: Factors, parts: &[Part]) -> Result<Config> {
    let refuse = |what: String| Err(Error::at(meta.path, what));
    let find = |name: &str| {
        parts
            .iter()
            .find_map(|part| part.content.tensor_infos.get(name))
    };
    let architecture = find_family(meta, false)?.gguf_architecture;
    let key = |name: &str| format!("{architecture}.{name}");
    if meta.uint(&key("expert_count"))?.unwrap_or(0) > 0 {
        return refuse("a mixture of experts is not supported".into());
    }
    // files of Phi-4 say 0 for no window
    let window = meta.uint(&key("attention.sliding_window"))?;
    let window = window.filter(|w| *w > 0).map(|w| w as usize);
    let family = find_family(meta, window.is_some())?;
    let hidden_size = meta.size(&key("embedding_length"))?;
    let heads = meta.size(&key("attention.head_count"))?;
    let head_dim = match meta.opt_size(&key("attention.key_length"))? {
        Some(n) => n,
        None => hidden_size / heads,
    };
    let rotated = meta.opt_size(&key("rope.dimension_count"))?;
    let num_hidden_layers = meta.size(&key("block_count"))?;
    if num_hidden_layers > MAX_LAYERS {
        return refuse(format!(
            "{} is {num_hidden_layers}, more than {MAX_LAYERS}; the file is corrupt",
            key("block_count")
        ));
    }
    let vocab_size = match find("token_embd.weight") {
        Some(info) => info.shape.dims().first().copied().unwrap_or(0),
        None => return refuse("tensor token_embd.weight is missing".into()),
    };
    let eps = key("attention.layer_norm_rms_epsilon");
    let theta = meta.number(&key("rope.freq_base"))?;
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
        max_position_embeddings: meta.size(&key("context_length"))?,
        tie_word_embeddings: find("output.weight").is_none(),
        rope_theta: theta.unwrap_or(10_000.0),
        rope_scaling: RopeScaling::None,
        partial_rotary_factor: rotated.map_or(1.0, |n| share(n, head_dim)),
        attention_bias: find("blk.0.attn_output.bias").is_some(),
        layers: vec![LayerAttention::default(); num_hidden_layers],
        bos_token_id: None,
        eos_token_id: Vec::new(),
    };
    (family.gguf_layers)(&mut config, window);
    config.check().map_err(|e| Error::at(meta.path, e))?;
    config.rope_scaling = scaling(meta, &config, factors)?;
    config.check().map_err(|e| Error::at(meta.path, e))?;
    Ok(config)
}

fn scaling(meta: &Metadata, config: &Config, factors: Factors) -> Result<RopeScaling> {
    let key = |name: &str| format!("{}.rope.scaling.{name}", config.family.gguf_architecture);
    let number = |name: &str| {
        let found = meta.number(&key(name))?;
        found.ok_or_else(|| meta.wrong(&key(name), "missing"))
    };
    let original = || {
        let original = meta.opt_size(&key("original_context_length"))?;
        Ok::<_, Error>(original.unwrap_or(config.max_position_embeddings))
    };
    let of = |factors: Vec<f32>| factors.into_iter().map(|f| shortest(f.into())).collect();
    let kind = meta.text(&key("type")).filter(|kind| *kind != "none");
    let of_yarn = [
        ("yarn_ext_factor", 1.0),
        ("yarn_log_multiplier", 0.0),
        ("yarn_attn_factor", 1.0),
        ("attn_factor", 1.0),
    ];
    for (name, usual) in of_yarn {
        let number = meta.number(&key(name))?.filter(|n| *n != usual);
        if let (Some("yarn"), Some(number)) = (kind, number) {
            return Err(meta.wrong(&key(name), &format!("{number}; only {usual} is supported")));
        }
    }
    match (kind, factors.whole, factors.short, factors.long) {
        (None, None, None, None) => Ok(RopeScaling::None),
        (None, Some(factors), None, None) => llama3_scaling(config, &factors)
            .ok_or_else(|| meta.wrong(ROPE_FACTORS, "not a scaling of LLaMA 3's kind")),
        // files of Phi-3 name no type, or longrope
        (None | Some("longrope"), None, Some(short), Some(long)) => {
            Ok(RopeScaling::LongRope(LongRope {
                short_factor: of(short),
                long_factor: of(long),
                original_max_position_embeddings: original()?,
                factor: None,
                attention_factor: meta.number(&key("attn_factor"))?.map(shortest),
            }))
        }
        // the f32 as it is: it is in the fingerprints of adapters
        (Some("linear"), None, None, None) => Ok(RopeScaling::Linear {
            factor: number("factor")?,
        }),
        (Some("yarn"), None, None, None) => Ok(RopeScaling::Yarn(Yarn {
            factor: shortest(number("factor")?),
            original_max_position_embeddings: original()?,
            beta_fast: meta.number(&key("yarn_beta_fast"))?.unwrap_or(32.0),
            beta_slow: meta.number(&key("yarn_beta_slow"))?.unwrap_or(1.0),
            attention_factor: None,
            mscale: None,
            mscale_all_dim: None,
            truncate: true,
        })),
        (kind, whole, short, long) => {
            let tensors = [
                (ROPE_FACTORS, whole.is_some()),
                (SHORT_FACTORS, short.is_some()),
                (LONG_FACTORS, long.is_some()),
            ];
            let there = tensors.iter().filter(|(_, is_there)| *is_there);
            let there: Vec<_> = there.map(|(name, _)| *name).collect();
            let kind = kind.unwrap_or("none");
            Err(Error::at(
                meta.path,
                format!(
                    "RoPE scaling \"{kind}\" with the tensors [{}] is not supported",
                    there.join(", ")
                ),
            ))
        }
    }
}

/// The first family of the file's architecture: Mistral's files say llama, and have a window.
fn find_family(meta: &Metadata, windowed: bool) -> Result<&'static Family> {
    let name = meta.text("general.architecture").unwrap_or("missing");
    let is = |family: &Family| family.gguf_architecture == name && (family.windowed || !windowed);
    families::find(is).ok_or_else(|| {
        let supported = families::names(|family| family.gguf_architecture);
        let what = format!("architecture \"{name}\" is not supported; supported: {supported}");
        Error::at(meta.path, what)
    })
}

/// The share of a head of which transformers, which rounds down, rotates `n` numbers.
fn share(n: usize, head_dim: usize) -> f64 {
    let share = n as f64 / head_dim as f64;
    match (head_dim as f64 * share) as usize == n {
        true => share,
        false => share.next_up(),
    }
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
