//! GRPO's settings: the keys of `[algorithm]` beside `name`.

use crate::Result;
use crate::estimators::score::EosPenalty;
use crate::response_reward::ResponseReward;
use crate::settings::{at_least, ensure, not_negative};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Responses per prompt
    pub samples: usize,
    /// What rewards less their prompt's mean are divided by: the standard deviation of the `group` or the `batch`, or `none`
    pub scale_rewards: Scale,
    /// How tokens are summed: `grpo`, `bnpo`, `dapo`, `dr_grpo`
    pub aggregation: Aggregation,
    /// The constant of `dr_grpo`: tokens of the longest response there can be
    pub constant_length: usize,
    /// Weight of the KL to the reference in the loss; 0 = no reference is read
    pub beta: f64,
    /// The ratio of a token is held to 1 − this below
    pub clip: f64,
    /// and to 1 + this above; 0 = as below
    pub clip_high: f64,
    /// Scores are held to ± this; 0 = off
    pub score_clip: f64,
    /// For a response that did not end in EOS
    pub eos_penalty: f64,
    /// `subtract` from the score, or `replace` it by −eos_penalty
    pub eos_penalty_mode: EosPenalty,
    /// Passes over one batch of rollouts
    pub epochs: usize,
    /// Optimiser steps per pass
    pub minibatches: usize,
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
    /// A token counts alike in every optimiser step of the batch: sum, over its responses times the batch's mean length
    Dapo,
    /// Sum, over responses times a constant length
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
            score_clip: 0.0,
            eos_penalty: 1.0,
            eos_penalty_mode: EosPenalty::Subtract,
            epochs: 1,
            minibatches: 1,
        }
    }
}

impl Config {
    /// Refuses values that cannot work.
    pub(crate) fn check(&self) -> Result<()> {
        at_least("samples", self.samples, 2)?;
        ensure(
            self.aggregation != Aggregation::DrGrpo || self.constant_length > 0,
            "constant_length",
            self.constant_length,
            "1 or more where aggregation = \"dr_grpo\"; it is meant to be rollout.max_new_tokens",
        )?;
        ensure(
            self.clip > 0.0 && self.clip < 1.0,
            "clip",
            self.clip,
            "a number between 0 and 1",
        )?;
        not_negative("clip_high", self.clip_high)?;
        not_negative("beta", self.beta)?;
        at_least("epochs", self.epochs, 1)?;
        at_least("minibatches", self.minibatches, 1)?;
        self.reward().check()
    }

    /// No KL: it is in the loss.
    pub(crate) fn reward(&self) -> ResponseReward {
        ResponseReward {
            kl_coef: 0.0,
            score_clip: self.score_clip,
            eos_penalty: self.eos_penalty,
            eos_penalty_mode: self.eos_penalty_mode,
        }
    }
}
