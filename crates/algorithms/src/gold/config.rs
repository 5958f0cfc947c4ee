//! GOLD's settings: the keys of `[algorithm]` beside `name`.

use crate::checks::{ensure, fraction};
use crate::error::Result;
use crate::settings::{MethodConfig, Unused, unused_where};
use serde::{Deserialize, Serialize};

/// What a token of a demonstration is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reward {
    /// GOLD-p: log p_MLE(y_t) − b.
    LogProb,
    /// GOLD-s: p_MLE(y_t).
    Prob,
}

impl Reward {
    pub(super) fn of(name: &str) -> Self {
        match name {
            "gold_p" => Self::LogProb,
            _ => Self::Prob,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// u: least importance weight of a token
    pub weight_min: f64,
    /// c: least reward of a token
    pub reward_min: f64,
    /// b of GOLD-p: subtracted from log p_MLE
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<f64>,
    /// Tokens that a return sums over: its own and those after it
    pub suffix: usize,
    /// Discount within the suffix
    pub gamma: f64,
    /// Steps between two copies of the policy to π̃
    pub sync_steps: u64,
    /// π̃ is also copied at the start of each pass over the data
    pub sync_epoch: bool,
    /// p_MLE becomes the policy at the start of each pass, as in the released IWSLT run
    pub drift: bool,
}

impl Default for Config {
    /// GOLD-s.
    fn default() -> Self {
        Self::of(Reward::Prob)
    }
}

impl Config {
    /// The defaults of a variant.
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
}

impl MethodConfig for Config {
    fn check(&self) -> Result<()> {
        fraction("weight_min", self.weight_min)?;
        fraction("gamma", self.gamma)?;
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

    fn unused(&self) -> Unused {
        unused_where(&[(self.suffix == 1, &["gamma"], "suffix is 1")])
    }
}
