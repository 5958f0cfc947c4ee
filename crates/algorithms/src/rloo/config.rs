//! RLOO's settings: the keys of `[algorithm]` beside `name`.

use crate::Result;
use crate::estimators::score::EosPenalty;
use crate::response_reward::ResponseReward;
use crate::settings::{at_least, ensure};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Responses per prompt
    pub samples: usize,
    /// Advantages to mean 0, variance 1 over the responses of the batch
    pub normalise_advantages: bool,
    /// The ratio of a whole response is held to 1 ± this; 0 = off
    pub clip: f64,
    /// Weight of the response's summed k1 KL, taken off its score
    pub kl_coef: f64,
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

impl Default for Config {
    fn default() -> Self {
        Self {
            samples: 4,
            normalise_advantages: false,
            clip: 0.2,
            kl_coef: 0.05,
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
            (0.0..1.0).contains(&self.clip),
            "clip",
            self.clip,
            "0 (off) or a number below 1",
        )?;
        at_least("epochs", self.epochs, 1)?;
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
