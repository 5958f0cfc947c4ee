//! The settings of the A-LoL family. Each method has the keys that it uses and refuses the others.

use super::variant::Variant;
use crate::checks::{at_least, ensure, fraction, not_negative};
use crate::error::Result;
use crate::requirements::ValueFit;
use crate::settings::MethodConfig;
use serde::{Deserialize, Serialize};

/// None: the method does not have the key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Rows are sampled in proportion to their advantage (or reward); false: each row of weight
    /// above 0 once per pass
    pub priority: bool,
    /// The importance weight is clipped to 1 ± this
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<f64>,
    /// Least weight of a token
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_min: Option<f64>,
    /// Weight of log π − log π_ref
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kl_coef: Option<f64>,
    /// Prompts that the reference answers once, to fit V_ref
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_prompts: Option<usize>,
    /// Temperature of those answers; 0 = greedy
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_temperature: Option<f64>,
    /// Passes over them
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_epochs: Option<usize>,
    /// Learning rate of the head
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_lr: Option<f64>,
}

impl Default for Config {
    /// A-LoL.
    fn default() -> Self {
        Self::of(Variant::ALol)
    }
}

impl MethodConfig for Config {
    fn check(&self) -> Result<()> {
        if let Some(clip) = self.clip {
            ensure(clip > 0.0, "clip", clip, "a number above 0")?;
        }
        if let Some(least) = self.weight_min {
            fraction("weight_min", least)?;
        }
        not_negative("kl_coef", self.kl_coef.unwrap_or(0.0))?;
        not_negative("value_temperature", self.value_temperature.unwrap_or(0.0))?;
        not_negative("value_lr", self.value_lr.unwrap_or(0.0))?;
        at_least("value_prompts", self.value_prompts.unwrap_or(1), 1)?;
        at_least("value_epochs", self.value_epochs.unwrap_or(1), 1)
    }
}

impl Config {
    /// The defaults of a variant.
    pub(super) fn of(variant: Variant) -> Self {
        let by_advantage = variant.by_advantage();
        Self {
            priority: true,
            clip: variant.clips().then_some(0.9),
            weight_min: (variant == Variant::RGold).then_some(0.1),
            kl_coef: (variant == Variant::Kl).then_some(0.1),
            value_prompts: by_advantage.then_some(512),
            value_temperature: by_advantage.then_some(1.0),
            value_epochs: by_advantage.then_some(10),
            value_lr: by_advantage.then_some(1e-3),
        }
    }

    /// How V_ref is estimated, for variants with advantages.
    pub(super) fn value_fit(&self) -> Option<ValueFit> {
        Some(ValueFit {
            prompts: self.value_prompts?,
            temperature: self.value_temperature? as f32,
            epochs: self.value_epochs?,
            lr: self.value_lr?,
        })
    }
}
