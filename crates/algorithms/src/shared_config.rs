//! Keys that several methods have, each group written once.
//!
//! A method's config holds a group under `#[serde(flatten)]`, so the user sees plain keys.

use crate::checks::{at_least, not_negative};
use crate::error::Result;
use serde::{Deserialize, Serialize};

/// How a response's score is clipped, and penalised when the response did not end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScoreShaping {
    /// Scores are clipped to ± this; 0 = off
    pub score_clip: f64,
    /// For a response that did not end in EOS
    pub eos_penalty: f64,
    /// `subtract` from the score, or `replace` it by −eos_penalty
    pub eos_penalty_mode: EosPenalty,
}

/// What `eos_penalty` does to the score of an unfinished response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EosPenalty {
    /// Score minus `eos_penalty` (TRL).
    Subtract,
    /// `−eos_penalty` instead of the score (Ziegler et al. 2019).
    Replace,
}

impl Default for ScoreShaping {
    fn default() -> Self {
        Self {
            score_clip: 0.0,
            eos_penalty: 1.0,
            eos_penalty_mode: EosPenalty::Subtract,
        }
    }
}

impl ScoreShaping {
    /// Neither clipping nor penalty.
    pub const OFF: Self = Self {
        score_clip: 0.0,
        eos_penalty: 0.0,
        eos_penalty_mode: EosPenalty::Subtract,
    };

    /// `at`: prefix of the keys in errors (`""`, `"ppo."`).
    pub(crate) fn check(&self, at: &str) -> Result<()> {
        not_negative(&format!("{at}score_clip"), self.score_clip)?;
        not_negative(&format!("{at}eos_penalty"), self.eos_penalty)
    }

    /// The score clipped to ± `score_clip`, then penalised if the response is unfinished.
    pub fn apply(&self, score: f64, finished: bool) -> f64 {
        let score = match self.score_clip > 0.0 {
            true => score.clamp(-self.score_clip, self.score_clip),
            false => score,
        };
        match (finished, self.eos_penalty_mode) {
            (true, _) => score,
            (false, EosPenalty::Subtract) => score - self.eos_penalty,
            (false, EosPenalty::Replace) => -self.eos_penalty,
        }
    }
}

/// How often a batch of rollouts is trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Updates {
    /// Passes over one batch of rollouts
    pub epochs: usize,
    /// Optimiser steps per pass
    pub minibatches: usize,
}

impl Default for Updates {
    fn default() -> Self {
        Self {
            epochs: 1,
            minibatches: 1,
        }
    }
}

impl Updates {
    /// `at`: prefix of the keys in errors (`""`, `"ppo."`).
    pub(crate) fn check(&self, at: &str) -> Result<()> {
        at_least(&format!("{at}epochs"), self.epochs, 1)?;
        at_least(&format!("{at}minibatches"), self.minibatches, 1)
    }
}
