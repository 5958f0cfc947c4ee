//! ESRL's settings: the keys of `[algorithm]` beside `name`. `mode` sets the defaults of the others.

use crate::estimators::capability::{Capability, Normalisation};
use crate::estimators::score::EosPenalty;
use crate::response_reward::ResponseReward;
use crate::settings::{ensure, resolve};
use crate::{Error, Result, ppo};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The AAAI text
    Paper,
    /// The authors' code: batch elimination, then PPO
    Released,
    /// The text with what makes it learn
    Corrected,
}

/// Modes `paper` and `corrected`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub mode: Mode,
    /// Most samples per prompt
    pub k_max: usize,
    /// Fewest; 0 lets Eq. 8 leave a prompt out
    pub k_floor: usize,
    /// Share of samples that Eq. 8 saves
    pub beta: f64,
    pub tau_min: f64,
    pub tau_max: f64,
    /// Sharpness of Q (Eq. 4)
    pub alpha: f64,
    /// Divide the MRT loss by alpha, so that its gradient has the scale of REINFORCE's
    pub mrt_scale_by_alpha: bool,
    /// Q by log-probability per token (times the samples' mean length)
    pub length_normalise: bool,
    /// Score responses by the tempered distribution they were drawn from
    pub loss_temperature: bool,
    /// `reward`, `entropy`, `full_entropy`, `bleu`, `rouge`, `random`
    pub capability: Capability,
    /// `none`, `min_max`, `sigmoid`, before Eq. 8
    pub normalise: Normalisation,
    /// Subtract the mean of the queue from rewards
    pub baseline: bool,
    /// Rewards the queue holds
    pub fifo: usize,
    /// Weight of the prompt's own record in the baseline, 0 to 1
    pub prompt_baseline: f64,
    /// Divide rewards less baseline by the queue's standard deviation
    pub scale_rewards: bool,
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

/// The mode a table asks for: `corrected` when it says nothing.
pub(crate) fn mode(given: &Value) -> Result<Mode> {
    let named = given.get("mode").unwrap_or(&Value::Null);
    match named {
        Value::Null => Ok(Mode::Corrected),
        named => serde_json::from_value(named.clone()).map_err(|_| {
            Error::Input(format!(
                "algorithm.mode = {named}, expected one of \"paper\", \"released\", \"corrected\""
            ))
        }),
    }
}

impl Config {
    /// The defaults of a mode.
    pub fn of(mode: Mode) -> Self {
        let paper = Self {
            mode,
            k_max: 4,
            k_floor: 1,
            beta: 0.3,
            tau_min: 0.6,
            tau_max: 1.0,
            alpha: 0.005,
            mrt_scale_by_alpha: false,
            length_normalise: false,
            loss_temperature: false,
            capability: Capability::Reward,
            normalise: Normalisation::None,
            baseline: true,
            fifo: 1000,
            prompt_baseline: 0.0,
            scale_rewards: false,
            kl_coef: 0.0,
            score_clip: 0.0,
            eos_penalty: 0.0,
            eos_penalty_mode: EosPenalty::Subtract,
            minibatches: 1,
        };
        match mode {
            Mode::Corrected => Self {
                mrt_scale_by_alpha: true,
                length_normalise: true,
                loss_temperature: true,
                normalise: Normalisation::MinMax,
                prompt_baseline: 0.5,
                scale_rewards: true,
                kl_coef: 0.05,
                eos_penalty: 1.0,
                ..paper
            },
            _ => paper,
        }
    }

    pub(crate) fn resolve(given: &Value) -> Result<Self> {
        let mode = mode(given)?;
        let mut defaults = Self::of(mode);
        // Rewards and 1 − entropy may be negative, where Eq. 8 says nothing (D3).
        if mode == Mode::Paper {
            defaults.normalise = match given.get("capability").and_then(Value::as_str) {
                None | Some("reward") => Normalisation::Sigmoid,
                Some("full_entropy") => Normalisation::MinMax,
                _ => Normalisation::None,
            };
        }
        resolve(&defaults, given)
    }

    /// Refuses values that cannot work.
    pub fn check(&self) -> Result<()> {
        ensure(self.k_max > 0, "k_max", self.k_max, "1 or more")?;
        ensure(
            self.k_floor <= self.k_max,
            "k_floor",
            self.k_floor,
            "no more than k_max",
        )?;
        let unit = [
            ("beta", self.beta),
            ("prompt_baseline", self.prompt_baseline),
        ];
        for (key, value) in unit {
            ensure(
                (0.0..=1.0).contains(&value),
                key,
                value,
                "a number from 0 to 1",
            )?;
        }
        ensure(
            self.k_floor > 0 || self.beta < 1.0,
            "beta",
            self.beta,
            "a number below 1 where k_floor = 0: no prompt would be sampled",
        )?;
        for (key, value) in [
            ("tau_min", self.tau_min),
            ("tau_max", self.tau_max),
            ("alpha", self.alpha),
        ] {
            ensure(
                value > 0.0 && value.is_finite(),
                key,
                value,
                "a number above 0",
            )?;
        }
        ensure(
            self.tau_min <= self.tau_max,
            "tau_min",
            self.tau_min,
            "no more than tau_max",
        )?;
        ensure(self.fifo > 0, "fifo", self.fifo, "1 or more")?;
        self.reward().check()?;
        ensure(
            self.minibatches > 0,
            "minibatches",
            self.minibatches,
            "1 or more",
        )
    }

    pub(super) fn reward(&self) -> ResponseReward {
        ResponseReward {
            kl_coef: self.kl_coef,
            score_clip: self.score_clip,
            eos_penalty: self.eos_penalty,
            eos_penalty_mode: self.eos_penalty_mode,
        }
    }
}

/// Mode `released`: its own keys, and PPO's in a table of their own.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReleasedConfig {
    mode: Mode,
    /// Share of each batch that is dropped, rounded up
    pub beta: f64,
    pub ppo: ppo::Config,
}

impl ReleasedConfig {
    pub fn resolve(given: &Value) -> Result<Self> {
        let defaults = Self {
            mode: Mode::Released,
            beta: 0.3,
            ppo: ppo::deepspeed(),
        };
        let config: Self = resolve(&defaults, given)?;
        ensure(
            (0.0..1.0).contains(&config.beta),
            "beta",
            config.beta,
            "a number from 0 to below 1",
        )?;
        Ok(config)
    }
}
