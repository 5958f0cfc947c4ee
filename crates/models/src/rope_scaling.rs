//! RoPE settings of config.json: `rope_parameters` of transformers 5, or `rope_theta` and
//! `rope_scaling` of version 4. An unknown type or key is refused. Formulas: transformers'
//! `modeling_rope_utils`.

use crate::config_json::Fields;
use serde_json::{Value, json};

/// Keys of a table, whatever its type. Those of other types than its own are not read, as in
/// transformers.
const KEYS: [&str; 18] = [
    "rope_type",
    "type",
    "rope_theta",
    "partial_rotary_factor",
    "factor",
    "original_max_position_embeddings",
    "low_freq_factor",
    "high_freq_factor",
    "attention_factor",
    "beta_fast",
    "beta_slow",
    "mscale",
    "mscale_all_dim",
    "truncate",
    "short_factor",
    "long_factor",
    "finetuned",
    "max_position_embeddings",
];

/// How rotation frequencies are stretched beyond the length the model was first trained at.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    None,
    /// Every frequency is divided by `factor`.
    Linear {
        factor: f64,
    },
    /// NTK scaling of sequences beyond `max_position_embeddings`; there are none.
    Dynamic {
        factor: f64,
    },
    /// LLaMA 3.1: low frequencies are divided by `factor`, high ones kept, a ramp between.
    Llama3 {
        factor: f64,
        low_freq_factor: f64,
        high_freq_factor: f64,
        original_max_position_embeddings: usize,
    },
    Yarn(Yarn),
    LongRope(LongRope),
}

/// Peng et al. 2023: low frequencies are divided by `factor`, high ones kept, a ramp between, and
/// cos and sin are multiplied.
#[derive(Clone, Debug, PartialEq)]
pub struct Yarn {
    pub factor: f64,
    pub original_max_position_embeddings: usize,
    /// Turns within the original length from which a frequency is kept.
    pub beta_fast: f64,
    /// Turns up to which it is divided by the whole factor.
    pub beta_slow: f64,
    /// Multiplies cos and sin; None: by the other fields.
    pub attention_factor: Option<f64>,
    pub mscale: Option<f64>,
    pub mscale_all_dim: Option<f64>,
    /// The ramp begins and ends at whole numbers of pairs.
    pub truncate: bool,
}

/// Ding et al. 2024: each frequency is divided by a factor of its own, another one in sequences
/// beyond the original length, and cos and sin are multiplied.
#[derive(Clone, Debug, PartialEq)]
pub struct LongRope {
    pub short_factor: Vec<f64>,
    pub long_factor: Vec<f64>,
    pub original_max_position_embeddings: usize,
    /// None: context / original length.
    pub factor: Option<f64>,
    /// Multiplies cos and sin; None: by the factor.
    pub attention_factor: Option<f64>,
}

/// What config.json says of rotation.
pub(crate) struct Rope {
    pub theta: f64,
    pub scaling: RopeScaling,
    /// The share of a head's numbers that is rotated.
    pub rotated: f64,
}

/// What a file leaves out.
pub(crate) struct RopeDefaults {
    pub theta: f64,
    /// `original_max_position_embeddings`
    pub original: usize,
    /// `max_position_embeddings`
    pub context: usize,
}

impl Rope {
    pub(crate) fn read(fields: &Fields, defaults: &RopeDefaults) -> Result<Self, String> {
        let table = |key: &'static str| match fields.get(key) {
            None => Ok(None),
            Some(table) => match table.as_object() {
                Some(map) => Ok(Some(map)),
                None => Err(format!("{key} is {table}, not an object")),
            },
        };
        let (old, new) = (table("rope_scaling")?, table("rope_parameters")?);
        let empty = serde_json::Map::new();
        let table = Fields(new.or(old).unwrap_or(&empty));
        table.only(&KEYS, "RoPE scaling")?;
        let original = "original_max_position_embeddings";
        let original = |table: &Fields| match fields.opt_size(original)? {
            Some(original) => Ok(original),
            None => Ok::<_, String>(table.opt_size(original)?.unwrap_or(defaults.original)),
        };
        let scaling = |table: &Fields| RopeScaling::read(table, original(table)?, defaults.context);
        // transformers 5 takes the old key, version 4 does not know the new one
        if let (Some(old), Some(_)) = (old, new)
            && scaling(&Fields(old))? != scaling(&table)?
        {
            return Err("rope_scaling and rope_parameters differ; keep one of them".into());
        }
        let either = |key: &str| match table.opt_number(key)? {
            Some(number) => Ok::<_, String>(Some(number)),
            None => fields.opt_number(key),
        };
        Ok(Self {
            theta: either("rope_theta")?.unwrap_or(defaults.theta),
            scaling: scaling(&table)?,
            rotated: either("partial_rotary_factor")?.unwrap_or(1.0),
        })
    }
}

impl RopeScaling {
    fn read(table: &Fields, original: usize, context: usize) -> Result<Self, String> {
        let number = |key: &str| {
            let number = table.opt_number(key)?;
            number.ok_or_else(|| format!("{key} is missing from the RoPE scaling"))
        };
        let numbers = |key: &str| {
            let list = table.get(key).and_then(Value::as_array);
            let numbers: Option<Vec<f64>> =
                list.and_then(|l| l.iter().map(Value::as_f64).collect());
            numbers.ok_or_else(|| format!("{key} of the RoPE scaling is not a list of numbers"))
        };
        let Some(kind) = table.get("rope_type").or_else(|| table.get("type")) else {
            return match table.get("factor") {
                None => Ok(Self::None),
                Some(factor) => Err(format!(
                    "RoPE scaling has factor = {factor} but no rope_type; add it"
                )),
            };
        };
        match kind.as_str() {
            Some("default") => Ok(Self::None),
            Some("linear") => Ok(Self::Linear {
                factor: number("factor")?,
            }),
            Some("dynamic") => Ok(Self::Dynamic {
                factor: number("factor")?,
            }),
            Some("llama3") => Ok(Self::Llama3 {
                factor: number("factor")?,
                low_freq_factor: number("low_freq_factor")?,
                high_freq_factor: number("high_freq_factor")?,
                original_max_position_embeddings: original,
            }),
            Some("yarn") => {
                let factor = match table.0.get("factor") {
                    Some(Value::Null) => context as f64 / original as f64,
                    _ => number("factor")?,
                };
                let or = |key: &str, default: f64| {
                    let given = table.opt_number(key)?.filter(|n| *n != 0.0);
                    Ok::<_, String>(given.unwrap_or(default))
                };
                Ok(Self::Yarn(Yarn {
                    factor,
                    original_max_position_embeddings: original,
                    beta_fast: or("beta_fast", 32.0)?,
                    beta_slow: or("beta_slow", 1.0)?,
                    attention_factor: table.opt_number("attention_factor")?,
                    mscale: table.opt_number("mscale")?,
                    mscale_all_dim: table.opt_number("mscale_all_dim")?,
                    truncate: match table.get("truncate") {
                        None => true,
                        Some(_) => table.flag("truncate")?,
                    },
                }))
            }
            // "su": Phi-3's first name of it
            Some("longrope" | "su") => Ok(Self::LongRope(LongRope {
                short_factor: numbers("short_factor")?,
                long_factor: numbers("long_factor")?,
                original_max_position_embeddings: original,
                factor: table.opt_number("factor")?,
                attention_factor: table.opt_number("attention_factor")?,
            })),
            _ => Err(format!(
                "RoPE type {kind} is not supported; default, linear, dynamic, llama3, yarn and longrope are"
            )),
        }
    }

    /// `rope_parameters`, but for theta and the rotated share.
    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::None => json!({"rope_type": "default"}),
            Self::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
            Self::Dynamic { factor } => json!({"rope_type": "dynamic", "factor": factor}),
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
            Self::Yarn(yarn) => without_nulls(json!({
                "rope_type": "yarn",
                "factor": yarn.factor,
                "original_max_position_embeddings": yarn.original_max_position_embeddings,
                "beta_fast": yarn.beta_fast,
                "beta_slow": yarn.beta_slow,
                "attention_factor": yarn.attention_factor,
                "mscale": yarn.mscale,
                "mscale_all_dim": yarn.mscale_all_dim,
                "truncate": yarn.truncate,
            })),
            Self::LongRope(scaling) => without_nulls(json!({
                "rope_type": "longrope",
                "short_factor": scaling.short_factor,
                "long_factor": scaling.long_factor,
                "original_max_position_embeddings": scaling.original_max_position_embeddings,
                "factor": scaling.factor,
                "attention_factor": scaling.attention_factor,
            })),
        }
    }

    /// What cos and sin are multiplied by in a model of this context.
    pub(crate) fn attention_factor(&self, context: usize) -> f64 {
        match self {
            Self::Yarn(yarn) => yarn.attention_factor(),
            Self::LongRope(scaling) => scaling.attention_factor(context),
            _ => 1.0,
        }
    }

    /// Refuses numbers that make no frequencies; `pairs` rotate.
    pub(crate) fn check(&self, pairs: usize) -> Result<(), String> {
        let positive = |name: &str, number: f64| match number.is_finite() && number > 0.0 {
            true => Ok(()),
            false => Err(format!("RoPE scaling {name} {number} is not positive")),
        };
        match self {
            Self::None => Ok(()),
            Self::Linear { factor } | Self::Dynamic { factor } => positive("factor", *factor),
            Self::Llama3 {
                factor,
                low_freq_factor: low,
                high_freq_factor: high,
                ..
            } => {
                positive("factor", *factor)?;
                match 0.0 < *low && low < high && high.is_finite() {
                    true => Ok(()),
                    false => Err(format!(
                        "RoPE scaling: low_freq_factor {low} and high_freq_factor {high} do not form a ramp; 0 < low < high is required"
                    )),
                }
            }
            Self::Yarn(yarn) => {
                let (fast, slow) = (yarn.beta_fast, yarn.beta_slow);
                positive("factor", yarn.factor)?;
                positive("attention_factor", yarn.attention_factor())?;
                positive("beta_slow", slow)?;
                match slow <= fast && fast.is_finite() {
                    true => Ok(()),
                    false => Err(format!(
                        "RoPE scaling: beta_fast {fast} is below beta_slow {slow}"
                    )),
                }
            }
            Self::LongRope(scaling) => {
                positive("attention_factor", scaling.attention_factor.unwrap_or(1.0))?;
                positive("factor", scaling.factor.unwrap_or(1.0))?;
                if scaling.original_max_position_embeddings < 2 {
                    return Err("RoPE scaling: original_max_position_embeddings is below 2".into());
                }
                for (name, factors) in [
                    ("short_factor", &scaling.short_factor),
                    ("long_factor", &scaling.long_factor),
                ] {
                    if factors.len() != pairs {
                        return Err(format!(
                            "RoPE scaling: {name} has {} numbers, but {pairs} pairs rotate",
                            factors.len()
                        ));
                    }
                    factors.iter().try_for_each(|f| positive(name, *f))?;
                }
                Ok(())
            }
        }
    }
}

impl Yarn {
    fn attention_factor(&self) -> f64 {
        let magnitude = |scale: f64| match self.factor <= 1.0 {
            true => 1.0,
            false => 0.1 * scale * self.factor.ln() + 1.0,
        };
        let given = |scale: Option<f64>| scale.filter(|s| *s != 0.0);
        match (
            self.attention_factor,
            given(self.mscale),
            given(self.mscale_all_dim),
        ) {
            (Some(factor), ..) => factor,
            (None, Some(scale), Some(of_all)) => magnitude(scale) / magnitude(of_all),
            _ => magnitude(1.0),
        }
    }

    /// The share of each of the pairs of `dim` numbers that keeps its frequency.
    pub(crate) fn kept(&self, dim: usize, theta: f64) -> Vec<f32> {
        let original = self.original_max_position_embeddings as f64;
        let pair_of = |turns: f64| {
            let wavelength = original / (turns * 2.0 * std::f64::consts::PI);
            dim as f64 * wavelength.ln() / (2.0 * theta.ln())
        };
        let (mut low, mut high) = (pair_of(self.beta_fast), pair_of(self.beta_slow));
        if self.truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        (low, high) = (low.max(0.0), high.min(dim as f64 - 1.0));
        if low == high {
            high += 0.001; // as transformers does, so that the ramp has a slope
        }
        let ramp = |pair: usize| (pair as f32 - low as f32) / (high - low) as f32;
        (0..dim / 2)
            .map(|pair| 1.0 - ramp(pair).clamp(0.0, 1.0))
            .collect()
    }
}

impl LongRope {
    fn attention_factor(&self, context: usize) -> f64 {
        let original = self.original_max_position_embeddings as f64;
        let factor = self.factor.unwrap_or(context as f64 / original);
        match self.attention_factor {
            Some(factor) => factor,
            None if factor <= 1.0 => 1.0,
            None => (1.0 + factor.ln() / original.ln()).sqrt(),
        }
    }
}

/// transformers refuses null values here.
fn without_nulls(mut value: Value) -> Value {
    if let Some(map) = value.as_object_mut() {
        map.retain(|_, v| !v.is_null());
    }
    value
}
