//! GOLD's settings: the keys of `[algorithm]` beside `name`.

use super::Reward;
use crate::Result;
use crate::settings::{ensure, own_keys};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// u: least importance weight of a token
    pub weight_min: f64,
    /// c: least reward of a token
    pub reward_min: f64,
    /// b of GOLD-p: taken off log p_MLE
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<f64>,
    /// Tokens a return looks at: its own and those after it
    pub suffix: usize,
    /// Discount within the suffix
    pub gamma: f64,
    /// Steps between two copies of the policy into π̃
    pub sync_steps: u64,
    /// π̃ is also copied at the start of each pass over the data
    pub sync_epoch: bool,
    /// p_MLE becomes the policy at the start of each pass, as in the released IWSLT run
    pub drift: bool,
}

impl Config {
    pub(crate) fn of(reward: Reward) -> Self {
        let (weight_min, reward_min, baseline) = match reward {
            Reward::LogProb => (0.0, 1.0, Some(-10.0)),
            Reward::Prob => (0.2, 0.1, None),
        };
        Self {
            weight_min,
            reward_min,
            baseline,
            suffix: 6,
            gamma: 1.0,
            sync_steps: 20,
            sync_epoch: true,
            drift: false,
        }
    }

    pub(crate) fn resolve(reward: Reward, given: &Value) -> Result<Self> {
        own_keys(&Self::of(reward), given)
    }

    pub(crate) fn check(&self) -> Result<()> {
        let unit = [("weight_min", self.weight_min), ("gamma", self.gamma)];
        for (key, value) in unit {
            ensure(
                (0.0..=1.0).contains(&value),
                key,
                value,
                "a number from 0 to 1",
            )?;
        }
        ensure(
            self.reward_min.is_finite(),
            "reward_min",
            self.reward_min,
            "a number",
        )?;
        ensure(self.suffix > 0, "suffix", self.suffix, "1 or more")?;
        ensure(
            self.sync_steps > 0,
            "sync_steps",
            self.sync_steps,
            "1 or more",
        )
    }
}
