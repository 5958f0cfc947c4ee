//! `config.json` of a Hugging Face LLaMA, read as transformers 4 and 5 write it and written as transformers 5 reads it.
//! What we do not compute (biases, other activations, other RoPE types) is refused, never ignored.

use crate::{Error, Result};
use serde_json::{Map, Value, json};
use std::path::Path;

/// No LLaMA comes near; a damaged file must not make us list a billion tensors.
const MAX_LAYERS: usize = 10_000;

/// The shape of a LLaMA. Widths in elements, `max_position_embeddings` in tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    pub head_dim: usize,
    pub rms_norm_eps: f64,
    pub max_position_embeddings: usize,
    pub tie_word_embeddings: bool,
    pub rope_theta: f64,
    pub rope_scaling: RopeScaling,
    pub bos_token_id: Option<u32>,
    /// Empty where the file names none.
    pub eos_token_id: Vec<u32>,
}

/// How rotation frequencies are stretched beyond the length the model was first trained at.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    None,
    /// Every frequency divided by `factor`.
    Linear {
        factor: f64,
    },
    /// CausalLm 3.1: low frequencies divided by `factor`, high ones kept, a ramp between.
    Llama3 {
        factor: f64,
        low_freq_factor: f64,
        high_freq_factor: f64,
        original_max_position_embeddings: usize,
    },
}

impl Config {
    /// Reads and checks a `config.json`.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        let value: Value =
            serde_json::from_str(&text).map_err(|e| Error::at(path, format!("not JSON: {e}")))?;
        Self::from_json(&value).map_err(|what| Error::at(path, what))
    }

    /// The same from a parsed file; the error says what is wrong, not where.
    pub fn from_json(value: &Value) -> std::result::Result<Self, String> {
        let f = Fields(value.as_object().ok_or("not a JSON object")?);
        f.refuse_other_models()?;
        let num_attention_heads = f.size("num_attention_heads")?;
        let hidden_size = f.size("hidden_size")?;
        let (rope_theta, rope_scaling) = f.rope()?;
        let head_dim = match f.opt_size("head_dim")? {
            Some(head_dim) => head_dim,
            None if hidden_size % num_attention_heads == 0 => hidden_size / num_attention_heads,
            None => {
                return Err(format!(
                    "hidden_size {hidden_size} is not a multiple of num_attention_heads {num_attention_heads}"
                ));
            }
        };
        let config = Self {
            vocab_size: f.size("vocab_size")?,
            hidden_size,
            intermediate_size: f.size("intermediate_size")?,
            num_hidden_layers: f.size("num_hidden_layers")?,
            num_attention_heads,
            num_key_value_heads: f
                .opt_size("num_key_value_heads")?
                .unwrap_or(num_attention_heads),
            head_dim,
            rms_norm_eps: f.opt_number("rms_norm_eps")?.unwrap_or(1e-6),
            max_position_embeddings: f.opt_size("max_position_embeddings")?.unwrap_or(2048),
            tie_word_embeddings: f.flag("tie_word_embeddings")?,
            rope_theta,
            rope_scaling,
            bos_token_id: token_ids(f.get("bos_token_id"), "bos_token_id")?
                .first()
                .copied(),
            eos_token_id: token_ids(f.get("eos_token_id"), "eos_token_id")?,
        };
        config.check()?;
        Ok(config)
    }

    /// Relations between the fields; the error says which one is broken.
    pub(crate) fn check(&self) -> std::result::Result<(), String> {
        let (heads, kv) = (self.num_attention_heads, self.num_key_value_heads);
        if heads == 0 || kv == 0 || !heads.is_multiple_of(kv) {
            return Err(format!(
                "num_attention_heads {heads} is not a multiple of num_key_value_heads {kv}"
            ));
        }
        if self.num_hidden_layers > MAX_LAYERS {
            return Err(format!(
                "num_hidden_layers {} is more than {MAX_LAYERS}; the file is damaged",
                self.num_hidden_layers
            ));
        }
        if self.head_dim == 0 || !self.head_dim.is_multiple_of(2) {
            return Err(format!(
                "head_dim {} is odd; rotary embedding needs pairs",
                self.head_dim
            ));
        }
        if !self.rms_norm_eps.is_finite() || self.rms_norm_eps <= 0.0 {
            return Err(format!(
                "rms_norm_eps {} is not positive",
                self.rms_norm_eps
            ));
        }
        if !self.rope_theta.is_finite() || self.rope_theta <= 1.0 {
            return Err(format!("rope_theta {} is not above 1", self.rope_theta));
        }
        match self.rope_scaling {
            RopeScaling::Linear { factor } | RopeScaling::Llama3 { factor, .. }
                if !factor.is_finite() || factor <= 0.0 =>
            {
                Err(format!("RoPE scaling factor {factor} is not positive"))
            }
            RopeScaling::Llama3 {
                low_freq_factor: low,
                high_freq_factor: high,
                ..
            } if !(0.0 < low && low < high && high.is_finite()) => Err(format!(
                "RoPE scaling: low_freq_factor {low} and high_freq_factor {high} are no ramp; 0 < low < high is needed"
            )),
            _ => Ok(()),
        }
    }

    /// `config.json` as transformers 5 writes it, with the keys of version 4 beside it (`rope_theta`, `rope_scaling`).
    pub fn to_json(&self) -> Value {
        let mut rope = match &self.rope_scaling {
            RopeScaling::None => json!({"rope_type": "default"}),
            RopeScaling::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            } => json!({
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low_freq_factor,
                "high_freq_factor": high_freq_factor,
                "original_max_position_embeddings": original_max_position_embeddings,
            }),
        };
        let scaling = match self.rope_scaling {
            RopeScaling::None => Value::Null,
            _ => rope.clone(),
        };
        rope["rope_theta"] = self.rope_theta.into();
        let eos = match self.eos_token_id.as_slice() {
            [] => Value::Null,
            [one] => (*one).into(),
            many => many.into(),
        };
        json!({
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "max_position_embeddings": self.max_position_embeddings,
            "rms_norm_eps": self.rms_norm_eps,
            "rope_parameters": rope,
            "rope_theta": self.rope_theta,
            "rope_scaling": scaling,
            "tie_word_embeddings": self.tie_word_embeddings,
            "attention_bias": false,
            "mlp_bias": false,
            "attention_dropout": 0.0,
            "bos_token_id": self.bos_token_id,
            "eos_token_id": eos,
            "dtype": "float32",
            "torch_dtype": "float32",
            "use_cache": true,
        })
    }
}

/// Token ids given as nothing, one number or a list.
pub(crate) fn token_ids(value: Option<&Value>, key: &str) -> std::result::Result<Vec<u32>, String> {
    let id = |v: &Value| {
        v.as_u64()
            .and_then(|id| u32::try_from(id).ok())
            .ok_or_else(|| format!("{key} holds {v}, which is not a token id"))
    };
    match value {
        None => Ok(Vec::new()),
        // older files say -1 for "none"
        Some(v) if v.as_i64() == Some(-1) => Ok(Vec::new()),
        Some(Value::Array(ids)) => ids.iter().map(id).collect(),
        Some(one) => Ok(vec![id(one)?]),
    }
}

/// Typed look-up in a JSON object; `null` counts as absent.
struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|v| !v.is_null())
    }

    fn opt_size(&self, key: &str) -> std::result::Result<Option<usize>, String> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match value.as_u64() {
            // beyond 2^31 nothing fits; refusing here keeps the products below from overflowing
            Some(n) if n > 0 && n < 1 << 31 => Ok(Some(n as usize)),
            _ => Err(format!("{key} is {value}, not a positive whole number")),
        }
    }

    fn size(&self, key: &str) -> std::result::Result<usize, String> {
        self.opt_size(key)?
            .ok_or_else(|| format!("{key} is missing"))
    }

    fn opt_number(&self, key: &str) -> std::result::Result<Option<f64>, String> {
        self.get(key)
            .map(|v| {
                v.as_f64()
                    .ok_or_else(|| format!("{key} is {v}, not a number"))
            })
            .transpose()
    }

    fn number(&self, key: &str) -> std::result::Result<f64, String> {
        self.opt_number(key)?
            .ok_or_else(|| format!("{key} is missing from the RoPE scaling"))
    }

    fn flag(&self, key: &str) -> std::result::Result<bool, String> {
        match self.get(key) {
            None => Ok(false),
            Some(v) => v
                .as_bool()
                .ok_or_else(|| format!("{key} is {v}, not true or false")),
        }
    }

    fn refuse_other_models(&self) -> std::result::Result<(), String> {
        let model_type = self.get("model_type").and_then(Value::as_str);
        if let Some(other) = model_type.filter(|t| *t != "llama") {
            return Err(format!(
                "model_type \"{other}\" is not supported; only \"llama\" is"
            ));
        }
        let architectures = self.get("architectures").and_then(Value::as_array);
        if let Some(list) = architectures
            && !list.iter().any(|a| a == "LlamaForCausalLM")
        {
            return Err(format!(
                "architectures {} is not supported; only LlamaForCausalLM is",
                Value::Array(list.clone())
            ));
        }
        if model_type.is_none() && architectures.is_none() {
            return Err("names neither model_type nor architectures; is this a LLaMA?".into());
        }
        for key in ["attention_bias", "mlp_bias"] {
            if self.flag(key)? {
                return Err(format!(
                    "{key} = true is not supported; LLaMA has no biases"
                ));
            }
        }
        if let Some(act) = self.get("hidden_act").filter(|a| *a != "silu") {
            return Err(format!("hidden_act {act} is not supported; only silu is"));
        }
        if self.get("quantization_config").is_some() {
            return Err(
                "quantised safetensors are not supported; use the original weights or a GGUF file"
                    .into(),
            );
        }
        Ok(())
    }

    /// theta and scaling, from `rope_parameters` (transformers 5) or `rope_theta` and `rope_scaling` (4).
    fn rope(&self) -> std::result::Result<(f64, RopeScaling), String> {
        let table = ["rope_parameters", "rope_scaling"]
            .into_iter()
            .find_map(|key| Some((key, self.get(key)?)));
        let Some((key, table)) = table else {
            return Ok((
                self.opt_number("rope_theta")?.unwrap_or(10_000.0),
                RopeScaling::None,
            ));
        };
        let table = Fields(
            table
                .as_object()
                .ok_or_else(|| format!("{key} is {table}, not an object"))?,
        );
        let theta = match table.opt_number("rope_theta")? {
            Some(theta) => theta,
            None => self.opt_number("rope_theta")?.unwrap_or(10_000.0),
        };
        let kind = table.get("rope_type").or_else(|| table.get("type"));
        let scaling = match kind.and_then(Value::as_str) {
            None if kind.is_none() => RopeScaling::None,
            Some("default") => RopeScaling::None,
            Some("linear") => RopeScaling::Linear {
                factor: table.number("factor")?,
            },
            Some("llama3") => RopeScaling::Llama3 {
                factor: table.number("factor")?,
                low_freq_factor: table.number("low_freq_factor")?,
                high_freq_factor: table.number("high_freq_factor")?,
                original_max_position_embeddings: table.size("original_max_position_embeddings")?,
            },
            _ => {
                return Err(format!(
                    "RoPE type {} is not supported; default, linear and llama3 are",
                    kind.expect("None was matched above")
                ));
            }
        };
        Ok((theta, scaling))
    }
}
