//! MRT's settings: the keys of `[algorithm]` beside `name`.

use crate::checks::{at_least, ensure, positive};
use crate::error::Result;
use crate::response_reward::ResponseReward;
use crate::settings::{self, MethodConfig};
use crate::shared_config::ScoreShaping;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Responses sampled per prompt
    pub samples: usize,
    /// Sharpness of Q
    pub alpha: f64,
    /// Divide the loss by alpha, so that its gradient has the scale of REINFORCE's
    pub scale_by_alpha: bool,
    /// Q by log-probability per token, times the samples' mean length
    pub length_normalise: bool,
    /// The prompt's reference answer joins its samples
    pub reference_in_samples: bool,
    /// Keep only the first of equal responses to a prompt
    pub deduplicate: bool,
    /// Weight of the response's summed k1 KL, subtracted from its score
    pub kl_coef: f64,
    #[serde(flatten)]
    pub score: ScoreShaping,
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
            score: ScoreShaping::default(),
            minibatches: 1,
        }
    }
}

impl MethodConfig for Config {
    fn read(table: &toml::Table) -> Result<Self> {
        settings::read::<ScoreShaping>(table)?;
        settings::read(table)
    }

    fn check(&self) -> Result<()> {
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
}

impl Config {
    pub(super) fn reward(&self) -> ResponseReward {
        ResponseReward {
            kl_coef: self.kl_coef,
            score: self.score,
        }
    }
}
