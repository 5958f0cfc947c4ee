//! REINFORCE's settings: the keys of `[algorithm]` beside `name`.

use crate::Result;
use crate::estimators::baseline::Kind;
use crate::estimators::score::EosPenalty;
use crate::response_reward::ResponseReward;
use crate::settings::{at_least, ensure};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Responses per prompt
    pub samples: usize,
    /// `cumulative`, `ema`, `fifo`, `batch`, `leave_one_out`, `none`
    pub baseline: Kind,
    /// Share of the old value that `ema` keeps at each step
    pub ema_decay: f64,
    /// Rewards that the queue of `fifo` holds
    pub fifo: usize,
    /// What the loss is divided by: the step's `tokens` or `rows`
    pub normalise: Normaliser,
    /// Weight of the response's summed k1 KL, taken off its score
    pub kl_coef: f64,
    /// Scores are held to ± this; 0 = off
    pub score_clip: f64,
    /// For a response that did not end in EOS
    pub eos_penalty: f64,
    /// `subtract` from the score, or `replace` it by −eos_penalty
    pub eos_penalty_mode: EosPenalty,
    /// Optimiser steps per batch of rollouts
    pub minibatches: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normaliser {
    Tokens,
    Rows,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            samples: 1,
            baseline: Kind::Cumulative,
            ema_decay: 0.9,
            fifo: 1000,
            normalise: Normaliser::Tokens,
            kl_coef: 0.05,
            score_clip: 0.0,
            eos_penalty: 1.0,
            eos_penalty_mode: EosPenalty::Subtract,
            minibatches: 1,
        }
    }
}

impl Config {
    /// Refuses values that cannot work.
    pub(crate) fn check(&self) -> Result<()> {
        at_least("samples", self.samples, 1)?;
        ensure(
            self.baseline != Kind::LeaveOneOut || self.samples > 1,
            "samples",
            self.samples,
            "2 or more where baseline = \"leave_one_out\"",
        )?;
        ensure(
            (0.0..1.0).contains(&self.ema_decay),
            "ema_decay",
            self.ema_decay,
            "a number from 0 to below 1",
        )?;
        at_least("fifo", self.fifo, 1)?;
        at_least("minibatches", self.minibatches, 1)?;
        self.reward().check()
    }

    pub(crate) fn reward(&self) -> ResponseReward {
        ResponseReward {
            kl_coef: self.kl_coef,
            score_clip: self.score_clip,
            eos_penalty: self.eos_penalty,
            eos_penalty_mode: self.eos_penalty_mode,
        }
    }
}
