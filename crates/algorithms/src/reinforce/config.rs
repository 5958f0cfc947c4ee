//! REINFORCE's settings: the keys of `[algorithm]` beside `name`.

use crate::checks::{at_least, ensure, fraction_below_one};
use crate::error::Result;
use crate::estimators::baseline::Kind;
use crate::response_reward::ResponseReward;
use crate::settings::{self, MethodConfig, Unused, unused_where};
use crate::shared_config::ScoreShaping;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Responses per prompt
    pub samples: usize,
    /// `cumulative`, `ema`, `fifo`, `batch`, `leave_one_out`, `none`
    pub baseline: Kind,
    /// Share of the old value that `ema` keeps at each step
    pub ema_decay: f64,
    /// Rewards in the queue of `fifo`
    pub fifo: usize,
    /// What the loss is divided by: the step's `tokens` or `rows`
    pub normalise: Normaliser,
    /// Weight of the response's summed k1 KL, subtracted from its score
    pub kl_coef: f64,
    #[serde(flatten)]
    pub score: ScoreShaping,
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
            self.baseline != Kind::LeaveOneOut || self.samples > 1,
            "samples",
            self.samples,
            "2 or more where baseline = \"leave_one_out\"",
        )?;
        fraction_below_one("ema_decay", self.ema_decay)?;
        at_least("fifo", self.fifo, 1)?;
        at_least("minibatches", self.minibatches, 1)?;
        self.reward().check()
    }

    fn unused(&self) -> Unused {
        unused_where(&[
            (
                self.baseline != Kind::Ema,
                &["ema_decay"],
                "baseline is not \"ema\"",
            ),
            (
                self.baseline != Kind::Fifo,
                &["fifo"],
                "baseline is not \"fifo\"",
            ),
        ])
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
