//! The settings of the A-LoL family: each method has those it uses, and refuses the others.

use super::Variant;
use crate::settings::{ensure, own_keys};
use crate::{Result, ValueFit};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// None: the method does not have that key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Rows are drawn in proportion to their advantage (or reward); false: each of weight above 0 once a pass
    pub priority: bool,
    /// The importance weight is held to 1 ± this
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

impl Config {
    pub(crate) fn of(variant: Variant) -> Self {
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

    pub(crate) fn resolve(variant: Variant, given: &Value) -> Result<Self> {
        own_keys(&Self::of(variant), given)
    }

    pub(crate) fn check(&self) -> Result<()> {
        let at_least_0 = |value: f64| value >= 0.0 && value.is_finite();
        if let Some(clip) = self.clip {
            ensure(clip > 0.0, "clip", clip, "a number above 0")?;
        }
        if let Some(least) = self.weight_min {
            let unit = (0.0..=1.0).contains(&least);
            ensure(unit, "weight_min", least, "a number from 0 to 1")?;
        }
        for (key, value) in [
            ("kl_coef", self.kl_coef),
            ("value_temperature", self.value_temperature),
            ("value_lr", self.value_lr),
        ] {
            let value = value.unwrap_or(0.0);
            ensure(at_least_0(value), key, value, "a number, 0 or more")?;
        }
        for (key, value) in [
            ("value_prompts", self.value_prompts),
            ("value_epochs", self.value_epochs),
        ] {
            let value = value.unwrap_or(1);
            ensure(value > 0, key, value, "1 or more")?;
        }
        Ok(())
    }

    /// How V_ref is estimated, where the method has advantages.
    pub(crate) fn value_fit(&self) -> Option<ValueFit> {
        Some(ValueFit {
            prompts: self.value_prompts?,
            temperature: self.value_temperature? as f32,
            epochs: self.value_epochs?,
            lr: self.value_lr?,
        })
    }
}
