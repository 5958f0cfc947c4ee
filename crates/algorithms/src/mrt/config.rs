//! MRT's settings: the keys of `[algorithm]` beside `name`.

use crate::Result;
use crate::estimators::score::EosPenalty;
use crate::response_reward::ResponseReward;
use crate::settings::{at_least, ensure, positive};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Responses drawn per prompt
    pub samples: usize,
    /// Sharpness of Q
    pub alpha: f64,
    /// Divide the loss by alpha, so that its gradient has the scale of REINFORCE's
    pub scale_by_alpha: bool,
    /// Q by log-probability per token, times the samples' mean length
    pub length_normalise: bool,
    /// The prompt's reference answer joins its samples
    pub reference_in_samples: bool,
    /// Of equal responses to a prompt keep the first
    pub deduplicate: bool,
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

impl Default for Config {
    fn default() -> Self {
        Self {
            samples: 5,
            alpha: 0.005,
            scale_by_alpha: true,
            length_normalise: true,
            reference_in_samples: false,
            deduplicate: false,
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
            self.samples > 1 || self.reference_in_samples,
            "samples",
            self.samples,
            "2 or more, or reference_in_samples = true: one response alone gives no gradient",
        )?;
        positive("alpha", self.alpha)?;
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
