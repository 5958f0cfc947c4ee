//! RoPE settings of config.json: `rope_parameters` of transformers 5, or `rope_theta` and
//! `rope_scaling` of version 4. An unknown type is refused.

use crate::config_json::Fields;
use serde_json::{Value, json};

const DEFAULT_THETA: f64 = 10_000.0;

/// How rotation frequencies are stretched beyond the length the model was first trained at.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    None,
    /// Every frequency is divided by `factor`.
    Linear {
        factor: f64,
    },
    /// LLaMA 3.1: low frequencies are divided by `factor`, high ones kept, a ramp between.
    Llama3 {
        factor: f64,
        low_freq_factor: f64,
        high_freq_factor: f64,
        original_max_position_embeddings: usize,
    },
}

impl RopeScaling {
    /// theta and scaling.
    pub(super) fn read(fields: &Fields) -> Result<(f64, Self), String> {
        let theta_of = |fields: &Fields| fields.opt_number("rope_theta");
        let table = ["rope_parameters", "rope_scaling"]
            .into_iter()
            .find_map(|key| Some((key, fields.get(key)?)));
        let Some((key, table)) = table else {
            return Ok((theta_of(fields)?.unwrap_or(DEFAULT_THETA), Self::None));
        };
        let table = Fields(
            table
                .as_object()
                .ok_or_else(|| format!("{key} is {table}, not an object"))?,
        );
        let theta = match theta_of(&table)? {
            Some(theta) => theta,
            None => theta_of(fields)?.unwrap_or(DEFAULT_THETA),
        };
        Ok((theta, Self::read_table(&table)?))
    }

    fn read_table(table: &Fields) -> Result<Self, String> {
        let number = |key: &str| {
            let number = table.opt_number(key)?;
            number.ok_or_else(|| format!("{key} is missing from the RoPE scaling"))
        };
        let Some(kind) = table.get("rope_type").or_else(|| table.get("type")) else {
            return Ok(Self::None);
        };
        match kind.as_str() {
            Some("default") => Ok(Self::None),
            Some("linear") => Ok(Self::Linear {
                factor: number("factor")?,
            }),
            Some("llama3") => Ok(Self::Llama3 {
                factor: number("factor")?,
                low_freq_factor: number("low_freq_factor")?,
                high_freq_factor: number("high_freq_factor")?,
                original_max_position_embeddings: table.size("original_max_position_embeddings")?,
            }),
            _ => Err(format!(
                "RoPE type {kind} is not supported; default, linear and llama3 are"
            )),
        }
    }

    /// `rope_parameters`, but for theta.
    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::None => json!({"rope_type": "default"}),
            Self::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
            Self::Llama3 {
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
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        match self {
            Self::Linear { factor } | Self::Llama3 { factor, .. }
                if !factor.is_finite() || *factor <= 0.0 =>
            {
                Err(format!("RoPE scaling factor {factor} is not positive"))
            }
            Self::Llama3 {
                low_freq_factor: low,
                high_freq_factor: high,
                ..
            } if !(0.0 < *low && low < high && high.is_finite()) => Err(format!(
                "RoPE scaling: low_freq_factor {low} and high_freq_factor {high} do not form a ramp; 0 < low < high is required"
            )),
            _ => Ok(()),
        }
    }
}
