//! GRPO's settings: the keys of `[algorithm]` beside `name`.

use crate::checks::{at_least, between_zero_and_one, ensure, not_negative};
use crate::error::Result;
use crate::response_reward::ResponseReward;
use crate::settings::{self, MethodConfig, Unused, unused_where};
use crate::shared_config::{ScoreShaping, Updates};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Responses per prompt
    pub samples: usize,
    /// Divisor of rewards minus their prompt's mean: the standard deviation of the `group` or the
    /// `batch`, or `none`
    pub scale_rewards: Scale,
    /// How tokens are summed: `grpo`, `bnpo`, `dapo`, `dr_grpo`
    pub aggregation: Aggregation,
    /// The constant of `dr_grpo`: tokens of the longest possible response
    pub constant_length: usize,
    /// Weight of the KL to the reference in the loss; 0 = no reference is read
    pub beta: f64,
    /// The ratio of a token is clipped to 1 − this from below
    pub clip: f64,
    /// and to 1 + this from above; 0 = the same as `clip`
    pub clip_high: f64,
    #[serde(flatten)]
    pub score: ScoreShaping,
    #[serde(flatten)]
    pub updates: Updates,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    Group,
    Batch,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    /// Mean over a response's tokens, then over responses
    Grpo,
    /// Mean over the tokens of the optimiser step
    Bnpo,
    /// Sum over tokens, divided by the responses times the batch's mean length: a token has the
    /// same weight in every optimiser step of the batch
    Dapo,
    /// Sum over tokens, divided by the responses times a constant length
    DrGrpo,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            samples: 8,
            scale_rewards: Scale::Group,
            aggregation: Aggregation::Grpo,
            constant_length: 0,
            beta: 0.04,
            clip: 0.2,
            clip_high: 0.0,
            score: ScoreShaping::default(),
            updates: Updates::default(),
        }
    }
}

impl MethodConfig for Config {
    fn read(table: &toml::Table) -> Result<Self> {
        settings::read::<ScoreShaping>(table)?;
        settings::read::<Updates>(table)?;
        settings::read(table)
    }

    fn check(&self) -> Result<()> {
        at_least("samples", self.samples, 2)?;
        ensure(
            self.aggregation != Aggregation::DrGrpo || self.constant_length > 0,
            "constant_length",
            self.constant_length,
            "1 or more where aggregation = \"dr_grpo\"; it is meant to be rollout.max_new_tokens",
        )?;
        between_zero_and_one("clip", self.clip)?;
        not_negative("clip_high", self.clip_high)?;
        not_negative("beta", self.beta)?;
        self.updates.check("")?;
        self.reward().check()
    }

    fn unused(&self) -> Unused {
        let other = self.aggregation != Aggregation::DrGrpo;
        unused_where(&[(
            other,
            &["constant_length"],
            "aggregation is not \"dr_grpo\"",
        )])
    }
}

impl Config {
    /// Without the KL, which GRPO has in the loss.
    pub(super) fn reward(&self) -> ResponseReward {
        ResponseReward {
            kl_coef: 0.0,
            score: self.score,
        }
    }
}
