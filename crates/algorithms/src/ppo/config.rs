//! PPO's settings: the keys of `[algorithm]` beside `name`.

use crate::Result;
use crate::estimators::kl::{Controller, Estimator};
use crate::estimators::score::EosPenalty;
use crate::settings;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Responses per prompt
    pub samples: usize,
    /// Weight of the KL penalty in the reward
    pub kl_coef: f64,
    /// `fixed`, or `adaptive` towards `kl_target`
    pub kl_controller: Controller,
    /// Nats per response that the adaptive controller steers to
    pub kl_target: f64,
    /// Responses over which it corrects; smaller is faster
    pub kl_horizon: f64,
    /// `k1`, `k2`, `k3`, `abs`, `positive`
    pub kl_estimator: Estimator,
    /// Scores are held to ± this; 0 = off
    pub score_clip: f64,
    /// For a response that did not end in EOS
    pub eos_penalty: f64,
    /// `subtract` from the score, or `replace` it by −eos_penalty
    pub eos_penalty_mode: EosPenalty,
    /// Scale per-token rewards to variance 1 over the batch, mean kept
    pub whiten_rewards: bool,
    /// Advantages to mean 0, variance 1 over the tokens of the batch
    pub whiten_advantages: bool,
    /// Discount
    pub gamma: f64,
    /// GAE's λ
    pub lam: f64,
    /// The ratio is held to 1 ± this
    pub clip: f64,
    /// Bound of the loss where the advantage is negative, as a multiple of it; 0 = off
    pub dual_clip: f64,
    /// The value is held to its old one ± this; 0 = off
    pub value_clip: f64,
    /// Weight of the value loss
    pub vf_coef: f64,
    /// Weight of an entropy bonus
    pub entropy_coef: f64,
    /// Passes over one batch of rollouts
    pub epochs: usize,
    /// Optimiser steps per pass
    pub minibatches: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            samples: 1,
            kl_coef: 0.05,
            kl_controller: Controller::Fixed,
            kl_target: 6.0,
            kl_horizon: 10_000.0,
            kl_estimator: Estimator::K1,
            score_clip: 0.0,
            eos_penalty: 1.0,
            eos_penalty_mode: EosPenalty::Subtract,
            whiten_rewards: false,
            whiten_advantages: true,
            gamma: 1.0,
            lam: 0.95,
            clip: 0.2,
            dual_clip: 0.0,
            value_clip: 0.2,
            vf_coef: 0.1,
            entropy_coef: 0.0,
            epochs: 4,
            minibatches: 1,
        }
    }
}

impl Config {
    pub(crate) fn resolve(given: &Value) -> Result<Self> {
        settings::resolve(&Self::default(), given)
    }

    /// Refuses values that cannot work; `at` is what stands before each key (`""`, `"ppo."`).
    pub(crate) fn check(&self, at: &str) -> Result<()> {
        let ensure = |ok, key: &str, value: f64, expected: &str| {
            settings::ensure(ok, &format!("{at}{key}"), value, expected)
        };
        let not_negative = [
            ("kl_coef", self.kl_coef),
            ("score_clip", self.score_clip),
            ("eos_penalty", self.eos_penalty),
            ("value_clip", self.value_clip),
            ("vf_coef", self.vf_coef),
            ("entropy_coef", self.entropy_coef),
        ];
        for (key, value) in not_negative {
            ensure(
                value >= 0.0 && value.is_finite(),
                key,
                value,
                "a number, 0 or more",
            )?;
        }
        for (key, value) in [
            ("kl_target", self.kl_target),
            ("kl_horizon", self.kl_horizon),
        ] {
            ensure(
                value > 0.0 && value.is_finite(),
                key,
                value,
                "a number above 0",
            )?;
        }
        for (key, value) in [("gamma", self.gamma), ("lam", self.lam)] {
            ensure(
                (0.0..=1.0).contains(&value),
                key,
                value,
                "a number from 0 to 1",
            )?;
        }
        ensure(
            self.clip > 0.0 && self.clip < 1.0,
            "clip",
            self.clip,
            "a number between 0 and 1",
        )?;
        let dual = self.dual_clip == 0.0 || (self.dual_clip > 1.0 && self.dual_clip.is_finite());
        ensure(
            dual,
            "dual_clip",
            self.dual_clip,
            "0 (off) or a number above 1",
        )?;
        for (key, value) in [
            ("samples", self.samples),
            ("epochs", self.epochs),
            ("minibatches", self.minibatches),
        ] {
            ensure(value > 0, key, value as f64, "1 or more")?;
        }
        Ok(())
    }
}
