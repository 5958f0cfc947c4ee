//! The shape of a model from a GGUF file's metadata. Names: llama.cpp's `convert_hf_to_gguf.py`.

use crate::{Config, Error, Result, RopeScaling};
use candle_core::quantized::gguf_file::{Content, Value};
use std::path::Path;

/// Factors by which llama.cpp's converter divides CausalLm 3.1's frequencies.
pub(crate) const ROPE_FACTORS: &str = "rope_freqs.weight";

/// Typed look-up in the metadata.
pub(crate) struct Meta<'a> {
    pub path: &'a Path,
    pub content: &'a Content,
}

impl<'a> Meta<'a> {
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.content.metadata.get(key)
    }

    pub fn uint(&self, key: &str) -> Result<Option<u64>> {
        self.get(key)
            .map(|v| {
                let small = |v: i64| u64::try_from(v).ok();
                let number = match v {
                    Value::U8(v) => Some(u64::from(*v)),
                    Value::U16(v) => Some(u64::from(*v)),
                    Value::U32(v) => Some(u64::from(*v)),
                    Value::U64(v) => Some(*v),
                    Value::I8(v) => small(i64::from(*v)),
                    Value::I16(v) => small(i64::from(*v)),
                    Value::I32(v) => small(i64::from(*v)),
                    Value::I64(v) => small(*v),
                    _ => None,
                };
                number.ok_or_else(|| self.wrong(key, "not a whole number"))
            })
            .transpose()
    }

    fn opt_size(&self, key: &str) -> Result<Option<usize>> {
        match self.uint(key)? {
            None => Ok(None),
            Some(n) if n > 0 && n < 1 << 31 => Ok(Some(n as usize)),
            Some(_) => Err(self.wrong(key, "out of range")),
        }
    }

    fn size(&self, key: &str) -> Result<usize> {
        self.opt_size(key)?
            .ok_or_else(|| self.wrong(key, "missing"))
    }

    fn number(&self, key: &str) -> Result<Option<f64>> {
        self.get(key)
            .map(|v| match v {
                Value::F32(v) => Ok(f64::from(*v)),
                Value::F64(v) => Ok(*v),
                _ => Err(self.wrong(key, "not a number")),
            })
            .transpose()
    }

    pub fn text(&self, key: &str) -> Option<&'a str> {
        match self.get(key)? {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn flag(&self, key: &str) -> Option<bool> {
        match self.get(key)? {
            Value::Bool(on) => Some(*on),
            _ => None,
        }
    }

    pub fn list(&self, key: &str) -> Result<Option<&'a [Value]>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(_) => Err(self.wrong(key, "not a list")),
        }
    }

    pub fn wrong(&self, key: &str, what: &str) -> Error {
        Error::at(self.path, format!("metadata {key} is {what}"))
    }
}

pub(crate) fn config(meta: &Meta, rope_factors: Option<&[f32]>) -> Result<Config> {
    let refuse = |what: String| Err(Error::at(meta.path, what));
    match meta.text("general.architecture") {
        Some("llama") => {}
        other => {
            return refuse(format!(
                "architecture \"{}\" is not supported; only llama is",
                other.unwrap_or("missing")
            ));
        }
    }
    if meta.uint("llama.expert_count")?.unwrap_or(0) > 0 {
        return refuse("a mixture of experts is not supported".into());
    }
    let hidden_size = meta.size("llama.embedding_length")?;
    let heads = meta.size("llama.attention.head_count")?;
    let head_dim = match meta.opt_size("llama.attention.key_length")? {
        Some(n) => n,
        None => hidden_size / heads,
    };
    if let Some(n) = meta.opt_size("llama.rope.dimension_count")?
        && n != head_dim
    {
        return refuse(format!(
            "rotates {n} of {head_dim} dimensions; partial rotation is not supported"
        ));
    }
    let vocab_size = match meta.content.tensor_infos.get("token_embd.weight") {
        Some(info) => info.shape.dims().first().copied().unwrap_or(0),
        None => return refuse("tensor token_embd.weight is missing".into()),
    };
    let max_position_embeddings = meta.size("llama.context_length")?;
    let mut config = Config {
        vocab_size,
        hidden_size,
        intermediate_size: meta.size("llama.feed_forward_length")?,
        num_hidden_layers: meta.size("llama.block_count")?,
        num_attention_heads: heads,
        num_key_value_heads: meta
            .opt_size("llama.attention.head_count_kv")?
            .unwrap_or(heads),
        head_dim,
        rms_norm_eps: shortest(
            meta.number("llama.attention.layer_norm_rms_epsilon")?
                .ok_or_else(|| meta.wrong("llama.attention.layer_norm_rms_epsilon", "missing"))?,
        ),
        max_position_embeddings,
        tie_word_embeddings: !meta.content.tensor_infos.contains_key("output.weight"),
        rope_theta: meta.number("llama.rope.freq_base")?.unwrap_or(10_000.0),
        rope_scaling: RopeScaling::None,
        bos_token_id: None,
        eos_token_id: Vec::new(),
    };
    config.check().map_err(|e| Error::at(meta.path, e))?;
    config.rope_scaling = match (meta.text("llama.rope.scaling.type"), rope_factors) {
        (None | Some("none"), None) => RopeScaling::None,
        (None | Some("none"), Some(factors)) => llama3_scaling(&config, factors)
            .ok_or_else(|| meta.wrong(ROPE_FACTORS, "not a scaling of CausalLm 3's kind"))?,
        (Some("linear"), None) => RopeScaling::Linear {
            factor: meta
                .number("llama.rope.scaling.factor")?
                .ok_or_else(|| meta.wrong("llama.rope.scaling.factor", "missing"))?,
        },
        (Some(other), _) => return refuse(format!("RoPE scaling \"{other}\" is not supported")),
    };
    config.check().map_err(|e| Error::at(meta.path, e))?;
    Ok(config)
}

/// The f64 that prints like the f32 it came from: 1e-5 and not 9.999999747378752e-6.
fn shortest(value: f64) -> f64 {
    (value as f32).to_string().parse().unwrap_or(value)
}

/// The one setting of CausalLm 3.1 and 3.2 (ramp between wavelengths 8192/4 and 8192/1) whose factors these are.
fn llama3_scaling(config: &Config, factors: &[f32]) -> Option<RopeScaling> {
    // before tables of head_dim are made, which a damaged file may give as anything
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
    let plain = crate::rope::inv_freq(config);
    let scaled = crate::rope::inv_freq(&Config {
        rope_scaling: scaling.clone(),
        ..config.clone()
    });
    let same = plain
        .iter()
        .zip(&scaled)
        .zip(factors)
        .all(|((p, s), f)| (p / s / f - 1.0).abs() < 1e-3);
    same.then_some(scaling)
}
