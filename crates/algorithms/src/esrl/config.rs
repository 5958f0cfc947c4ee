//! ESRL's settings: the keys of `[algorithm]` beside `name`. `mode` decides which there are and
//! their defaults.

use crate::checks::{at_least, ensure, fraction, fraction_below_one, positive};
use crate::error::{Error, Result};
use crate::estimators::capability::{Capability, Normalisation, Rounding};
use crate::ppo;
use crate::response_reward::ResponseReward;
use crate::settings::{self, MethodConfig, Unused, unused_where};
use crate::shared_config::{ScoreShaping, Updates};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The AAAI text
    Paper,
    /// The authors' code: batch elimination, then PPO
    Released,
    /// The paper's method, with the fixes it needs to learn
    Corrected,
}

/// The settings of one mode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Config {
    /// Modes `paper` and `corrected`.
    Sampling(SamplingConfig),
    /// Mode `released`.
    Released(ReleasedConfig),
}

impl Default for Config {
    fn default() -> Self {
        Self::Sampling(SamplingConfig::of(Mode::Corrected))
    }
}

impl Config {
    /// The defaults of the mode that `given` asks for: `corrected` when it asks for none.
    pub(super) fn defaults(given: &Value) -> Result<Self> {
        let mode = match &given["mode"] {
            Value::Null => Mode::Corrected,
            named => serde_json::from_value(named.clone()).map_err(|_| {
                let modes = "\"paper\", \"released\", \"corrected\"";
                Error::Input(format!("algorithm.mode = {named}, expected one of {modes}"))
            })?,
        };
        if mode == Mode::Released {
            return Ok(Self::Released(ReleasedConfig::default()));
        }
        let mut defaults = SamplingConfig::of(mode);
        // Rewards and 1 − entropy may be negative, where Eq. 8 is undefined (D3).
        if mode == Mode::Paper {
            defaults.normalise = match given["capability"].as_str() {
                None | Some("reward") => Normalisation::Sigmoid,
                Some("full_entropy") => Normalisation::MinMax,
                _ => Normalisation::None,
            };
        }
        Ok(Self::Sampling(defaults))
    }
}

impl MethodConfig for Config {
    fn read(table: &toml::Table) -> Result<Self> {
        if table.get("mode").and_then(toml::Value::as_str) == Some("released") {
            if let Some(toml::Value::Table(ppo)) = table.get("ppo") {
                settings::read_at::<ScoreShaping>("algorithm.ppo", ppo)?;
                settings::read_at::<Updates>("algorithm.ppo", ppo)?;
            }
            return Ok(Self::Released(settings::read(table)?));
        }
        settings::read::<ScoreShaping>(table)?;
        Ok(Self::Sampling(settings::read(table)?))
    }

    fn check(&self) -> Result<()> {
        match self {
            Self::Sampling(config) => config.check(),
            Self::Released(config) => config.check(),
        }
    }

    fn unused(&self) -> Unused {
        match self {
            Self::Sampling(config) => config.unused(),
            Self::Released(config) => config.unused(),
        }
    }
}

/// Modes `paper` and `corrected`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SamplingConfig {
    pub mode: Mode,
    /// Most samples per prompt
    pub k_max: usize,
    /// Fewest samples per prompt; 0 lets Eq. 8 leave a prompt out
    pub k_floor: usize,
    /// Share of samples that Eq. 8 saves
    pub beta: f64,
    /// How Eq. 8 is rounded: `ceil`, or `largest_remainder`, which makes Σk = (1 − beta) n k_max
    pub rounding: Rounding,
    pub tau_min: f64,
    pub tau_max: f64,
    /// Sharpness of Q (Eq. 4)
    pub alpha: f64,
    /// Divide the MRT loss by alpha, so that its gradient has the scale of REINFORCE's
    pub mrt_scale_by_alpha: bool,
    /// Q by log-probability per token (times the samples' mean length)
    pub length_normalise: bool,
    /// Score responses by the tempered distribution they were sampled from
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
    /// Weight of the response's summed k1 KL, subtracted from its score
    pub kl_coef: f64,
    #[serde(flatten)]
    pub score: ScoreShaping,
    /// Optimiser steps per batch of rollouts
    pub minibatches: usize,
}

impl SamplingConfig {
    /// The defaults of a mode.
    fn of(mode: Mode) -> Self {
        let paper = Self {
            mode,
            k_max: 4,
            k_floor: 1,
            beta: 0.3,
            rounding: Rounding::Ceil,
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
            score: ScoreShaping::OFF,
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
                score: ScoreShaping::default(),
                ..paper
            },
            _ => paper,
        }
    }

    fn check(&self) -> Result<()> {
        at_least("k_max", self.k_max, 1)?;
        ensure(
            self.k_floor <= self.k_max,
            "k_floor",
            self.k_floor,
            "no more than k_max",
        )?;
        fraction("beta", self.beta)?;
        fraction("prompt_baseline", self.prompt_baseline)?;
        ensure(
            self.k_floor > 0 || self.beta < 1.0,
            "beta",
            self.beta,
            "a number below 1 where k_floor = 0: no prompt would be sampled",
        )?;
        positive("tau_min", self.tau_min)?;
        positive("tau_max", self.tau_max)?;
        positive("alpha", self.alpha)?;
        ensure(
            self.tau_min <= self.tau_max,
            "tau_min",
            self.tau_min,
            "no more than tau_max",
        )?;
        at_least("fifo", self.fifo, 1)?;
        self.reward().check()?;
        at_least("minibatches", self.minibatches, 1)
    }

    fn unused(&self) -> Unused {
        let random = self.capability == Capability::Random;
        let (one, no_queue) = (self.k_max == 1, !self.baseline && !self.scale_rewards);
        let of_plan = ["normalise", "beta", "rounding", "k_floor"];
        let of_mrt = ["alpha", "mrt_scale_by_alpha", "length_normalise"];
        unused_where(&[
            (random, &of_plan, "capability is \"random\""),
            (one, &of_mrt, "k_max is 1, so no prompt has several samples"),
            (
                no_queue,
                &["fifo"],
                "neither baseline nor scale_rewards is true",
            ),
        ])
    }

    pub(super) fn reward(&self) -> ResponseReward {
        ResponseReward {
            kl_coef: self.kl_coef,
            score: self.score,
        }
    }
}

/// Mode `released`: its own keys, and PPO's in a table of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleasedConfig {
    mode: Mode,
    /// Share of each batch that is dropped, rounded up
    pub beta: f64,
    pub ppo: ppo::Config,
}

impl Default for ReleasedConfig {
    fn default() -> Self {
        Self {
            mode: Mode::Released,
            beta: 0.3,
            ppo: ppo::Config::deepspeed(),
        }
    }
}

impl ReleasedConfig {
    fn check(&self) -> Result<()> {
        fraction_below_one("beta", self.beta)?;
        self.ppo.check_at("ppo.")
    }

    fn unused(&self) -> Unused {
        let nested = |(key, why)| (format!("ppo.{key}"), why);
        self.ppo.unused().into_iter().map(nested).collect()
    }
}
