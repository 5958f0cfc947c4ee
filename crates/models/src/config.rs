//! `config.json` of a Hugging Face model: read as transformers 4 and 5 write it, written as
//! transformers 5 reads it. What is not implemented is refused, never ignored.

use crate::config_json::{Fields, token_ids};
use crate::families;
use crate::hf_files::read_json;
use crate::rope_scaling::{Rope, RopeDefaults, RopeScaling};
use crate::shape::{Config, Family, LayerAttention};
use crate::{Error, Result};
use serde_json::{Value, json};
use std::path::Path;

/// More layers than any model has. A corrupt file must not make us list a billion tensors.
pub(crate) const MAX_LAYERS: usize = 10_000;

impl Config {
    /// Reads and checks a `config.json`.
    pub fn read(path: &Path) -> Result<Self> {
        let value = read_json(path)?.ok_or_else(|| Error::at(path, "no such file"))?;
        Self::from_json(&value).map_err(|what| Error::at(path, what))
    }

    /// The same from parsed JSON; the error says what is wrong, not where.
    pub fn from_json(value: &Value) -> std::result::Result<Self, String> {
        let f = Fields(value.as_object().ok_or("not a JSON object")?);
        let family = find_family(&f)?;
        refuse_unsupported(&f)?;
        let num_attention_heads = f.size("num_attention_heads")?;
        let hidden_size = f.size("hidden_size")?;
        let context = f.opt_size("max_position_embeddings")?;
        let context = context.unwrap_or(family.defaults.context);
        let rope = Rope::read(
            &f,
            &RopeDefaults {
                theta: family.defaults.rope_theta,
                original: family.defaults.original_context.unwrap_or(context),
                context,
            },
        )?;
        let head_dim = match f.opt_size("head_dim")?.or(family.defaults.head_dim) {
            Some(head_dim) => head_dim,
            None if hidden_size % num_attention_heads == 0 => hidden_size / num_attention_heads,
            None => {
                return Err(format!(
                    "hidden_size {hidden_size} is not a multiple of num_attention_heads {num_attention_heads}"
                ));
            }
        };
        let num_key_value_heads = match f.opt_size("num_key_value_heads")? {
            Some(heads) => heads,
            None if family.defaults.as_many_kv_heads => num_attention_heads,
            None => {
                return Err(format!(
                    "num_key_value_heads is missing and {} has no default; set it to the rows of k_proj.weight / {head_dim}",
                    family.architecture
                ));
            }
        };
        let num_hidden_layers = f.size("num_hidden_layers")?;
        check_layers(num_hidden_layers)?;
        let tied = f.get("tie_word_embeddings").is_some();
        let mut config = Self {
            family,
            vocab_size: f.size("vocab_size")?,
            hidden_size,
            intermediate_size: f.size("intermediate_size")?,
            num_hidden_layers,
            num_attention_heads,
            num_key_value_heads,
            head_dim,
            rms_norm_eps: f
                .opt_number("rms_norm_eps")?
                .unwrap_or(family.defaults.rms_norm_eps),
            max_position_embeddings: context,
            tie_word_embeddings: match tied {
                true => f.flag("tie_word_embeddings")?,
                false => family.defaults.tied,
            },
            rope_theta: rope.theta,
            rope_scaling: rope.scaling,
            partial_rotary_factor: rope.rotated,
            attention_bias: false,
            layers: vec![LayerAttention::default(); num_hidden_layers],
            bos_token_id: token_ids(f.get("bos_token_id"), "bos_token_id")?
                .first()
                .copied(),
            eos_token_id: token_ids(f.get("eos_token_id"), "eos_token_id")?,
        };
        (family.read_json)(&f, &mut config)?;
        config.check()?;
        Ok(config)
    }

    /// Checks relations between the fields; the error says which one is broken.
    pub(crate) fn check(&self) -> std::result::Result<(), String> {
        let (heads, kv) = (self.num_attention_heads, self.num_key_value_heads);
        if heads == 0 || kv == 0 || !heads.is_multiple_of(kv) {
            return Err(format!(
                "num_attention_heads {heads} is not a multiple of num_key_value_heads {kv}"
            ));
        }
        check_layers(self.num_hidden_layers)?;
        if self.layers.len() != self.num_hidden_layers {
            return Err(format!(
                "{} layers are described, num_hidden_layers is {}",
                self.layers.len(),
                self.num_hidden_layers
            ));
        }
        if self.layers.iter().any(|layer| layer.window == Some(0)) {
            return Err("sliding_window is 0; it counts the token itself".into());
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
        let (share, rotated) = (self.partial_rotary_factor, self.rotary_dim());
        let whole = share == 1.0;
        if !whole && !self.family.partial_rotation {
            return Err(format!(
                "partial_rotary_factor {share} is not supported for {}, which rotates whole heads",
                self.family.model_type
            ));
        }
        if !(share > 0.0 && share <= 1.0) || rotated == 0 || !rotated.is_multiple_of(2) {
            return Err(format!(
                "partial_rotary_factor {share} rotates {rotated} of {} numbers of a head; a positive even number is required",
                self.head_dim
            ));
        }
        self.rope_scaling.check(rotated / 2)
    }

    /// `config.json` as transformers 5 writes it, with the keys of version 4 beside it
    /// (`rope_theta`, `rope_scaling`). The order of the keys is part of a model's fingerprint.
    pub fn to_json(&self) -> Value {
        let mut rope = self.rope_scaling.to_json();
        let scaling = match self.rope_scaling {
            RopeScaling::None => Value::Null,
            _ => rope.clone(),
        };
        rope["rope_theta"] = self.rope_theta.into();
        if self.family.partial_rotation {
            rope["partial_rotary_factor"] = self.partial_rotary_factor.into();
        }
        let eos = match self.eos_token_id.as_slice() {
            [] => Value::Null,
            [one] => (*one).into(),
            many => many.into(),
        };
        let mut value = json!({
            "architectures": [self.family.architecture],
            "model_type": self.family.model_type,
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
        });
        for (key, of_family) in (self.family.json_keys)(self) {
            value[key] = of_family;
        }
        for (key, common) in [
            ("attention_dropout", json!(0.0)),
            ("bos_token_id", json!(self.bos_token_id)),
            ("eos_token_id", eos),
            ("dtype", json!("float32")),
            ("torch_dtype", json!("float32")),
            ("use_cache", json!(true)),
        ] {
            value[key] = common;
        }
        value
    }
}

fn check_layers(n: usize) -> std::result::Result<(), String> {
    match n > MAX_LAYERS {
        true => Err(format!(
            "num_hidden_layers {n} is more than {MAX_LAYERS}; the file is corrupt"
        )),
        false => Ok(()),
    }
}

/// The family that `model_type` names, or `architectures` where there is none.
fn find_family(f: &Fields) -> std::result::Result<&'static Family, String> {
    let architectures = f.get("architectures").and_then(Value::as_array);
    let lists = |family: &Family| {
        let mut names = architectures.into_iter().flatten();
        names.any(|name| name == family.architecture)
    };
    let model_type = f.get("model_type").and_then(Value::as_str);
    let family = match model_type {
        Some(model_type) => {
            let known = families::find(|family| family.model_type == model_type);
            Some(known.ok_or_else(|| {
                let supported = families::names(|family| family.model_type);
                format!("model_type \"{model_type}\" is not supported; supported: {supported}")
            })?)
        }
        None => families::find(lists),
    };
    match (family, architectures) {
        (Some(family), Some(_)) if lists(family) => Ok(family),
        (Some(family), None) => Ok(family),
        (Some(family), Some(list))
            if families::find(|f| list.iter().any(|name| name == f.architecture)).is_some() =>
        {
            Err(format!(
                "model_type \"{}\" and architectures {} contradict each other",
                family.model_type,
                Value::Array(list.clone())
            ))
        }
        (_, Some(list)) => Err(format!(
            "architectures {} is not supported; supported: {}",
            Value::Array(list.clone()),
            match family {
                Some(family) => family.architecture.to_string(),
                None => families::names(|family| family.architecture),
            }
        )),
        (None, None) => Err("names neither model_type nor architectures".into()),
    }
}

fn refuse_unsupported(f: &Fields) -> std::result::Result<(), String> {
    if let Some(act) = f.get("hidden_act").filter(|a| *a != "silu") {
        return Err(format!("hidden_act {act} is not supported; only silu is"));
    }
    if f.get("quantization_config").is_some() {
        return Err(
            "quantised safetensors are not supported; use the original weights or a GGUF file"
                .into(),
        );
    }
    Ok(())
}
