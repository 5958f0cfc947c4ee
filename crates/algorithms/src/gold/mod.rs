//! GOLD: off-policy policy gradient on demonstrations (Pang & He 2021, arXiv 2009.07839).
//!
//! A token of a demonstration is weighted by the policy's own probability of it and by the MLE
//! model's rewards of what follows. Choices are numbered in docs/methods/gold.md.

mod config;

pub use config::Config;
pub(crate) use config::Reward;

use crate::algorithm::Algorithm;
use crate::error::Result;
use crate::estimators::mean;
use crate::experience::Experience;
use crate::loss::{Loss, Scores, Totals};
use crate::method::{Method, Name};
use crate::metrics::{Definitions, Metrics, rollout_metrics};
use crate::requirements::{DataSource, PoolRequirements, Refresh, Requirements};
use crate::weighted_nll::weighted_nll;
use candle_core::Result as CResult;
use serde_json::Value;

impl Method for Gold {
    type Config = Config;
    const NAMES: &'static [Name] = &[
        Name {
            name: "gold_p",
            about: "off-policy policy gradient on demonstrations, rewarded by the log-probability of the MLE model",
            paper: "Pang and He 2021, arXiv 2009.07839",
        },
        Name {
            name: "gold_s",
            about: "the same, rewarded by the probability of the MLE model",
            paper: "Pang and He 2021, arXiv 2009.07839",
        },
    ];
    const PAGE: &'static str = "gold";
    const METRICS: Definitions = &[
        (
            "gold/weight_mean",
            "mean over tokens of the importance weight, clamp(π̃(y_t), u, 1)",
        ),
        (
            "gold/return_mean",
            "mean over tokens of the return, the sum over the suffix of max(c, reward)",
        ),
        (
            "gold/p_mle_mean",
            "mean over tokens of the MLE model's probability of the demonstration's token",
        ),
    ];

    fn defaults(name: &str, _given: &Value) -> Result<Config> {
        Ok(Config::of(Reward::of(name)))
    }

    fn build(name: &str, config: Config, _seed: u64) -> Box<dyn Algorithm> {
        let reward = Reward::of(name);
        Box::new(Self { config, reward })
    }
}

/// GOLD-p or GOLD-s.
pub(crate) struct Gold {
    config: Config,
    reward: Reward,
}

impl Gold {
    /// GOLD-s as a part of another method.
    pub(crate) fn s(config: Config) -> Self {
        Self {
            config,
            reward: Reward::Prob,
        }
    }

    /// Requirements for reading π̃ (`old_policy`) and p_MLE (the reference).
    pub(crate) fn model_requirements(&self) -> Requirements {
        let c = &self.config;
        Requirements {
            reference: true,
            reference_refresh: match c.drift {
                true => Refresh::Epoch,
                false => Refresh::Never,
            },
            old_policy: Some(match c.sync_epoch {
                true => Refresh::StepsAndEpoch(c.sync_steps),
                false => Refresh::Steps(c.sync_steps),
            }),
            recompute_logp_old: true,
            ..Requirements::default()
        }
    }

    /// Reward of one token. Past the end of a response p counts as 1.
    fn reward(&self, logp: f64) -> f64 {
        let reward = match self.reward {
            Reward::LogProb => logp.max(1e-10f64.ln()) - self.config.baseline.unwrap_or(0.0),
            Reward::Prob => logp.exp(),
        };
        reward.max(self.config.reward_min)
    }

    /// Returns of one row, `[T]`: the sum over the suffix of γ^j · max(c, reward).
    fn returns(&self, logp_mle: &[f32]) -> Vec<f64> {
        let past_end = self.reward(0.0);
        let rewards: Vec<f64> = logp_mle
            .iter()
            .map(|l| self.reward(f64::from(*l)))
            .collect();
        let at = |t: usize| rewards.get(t).copied().unwrap_or(past_end);
        let of = |t: usize| {
            let terms =
                (0..self.config.suffix).map(|j| self.config.gamma.powi(j as i32) * at(t + j));
            terms.sum::<f64>()
        };
        (0..logp_mle.len()).map(of).collect()
    }

    /// Writes weight × return of each token into `advantages`.
    pub(crate) fn weigh_tokens(&self, mut exp: Experience) -> Result<(Experience, Metrics)> {
        let tokens = [("logp_old", &exp.logp_old[..]), ("logp_ref", &exp.logp_ref)];
        exp.require(&tokens, &[])?;
        let weights: Vec<f64> = exp
            .logp_old
            .iter()
            .map(|l| f64::from(*l).exp().clamp(self.config.weight_min, 1.0))
            .collect();
        let layout = exp.layout();
        let returns: Vec<f64> = layout
            .ranges()
            .flat_map(|tokens| self.returns(&exp.logp_ref[tokens]))
            .collect();
        let p_mle: Vec<f64> = exp.logp_ref.iter().map(|l| f64::from(*l).exp()).collect();
        let metrics = Metrics::from([
            ("gold/weight_mean".into(), mean(&weights)),
            ("gold/return_mean".into(), mean(&returns)),
            ("gold/p_mle_mean".into(), mean(&p_mle)),
        ]);
        exp.advantages = weights
            .iter()
            .zip(&returns)
            .map(|(w, q)| (w * q) as f32)
            .collect();
        Ok((exp, metrics))
    }
}

impl Algorithm for Gold {
    fn requirements(&self) -> Requirements {
        Requirements {
            source: DataSource::Pool(PoolRequirements::default()),
            ..self.model_requirements()
        }
    }

    fn prepare(&mut self, exp: Experience) -> Result<(Experience, Metrics)> {
        let (exp, own) = self.weigh_tokens(exp)?;
        let mut metrics = rollout_metrics(&exp);
        metrics.extend(own);
        Ok((exp, metrics))
    }

    fn policy_loss(&self, now: &Scores, exp: &Experience, totals: Totals) -> CResult<Loss> {
        weighted_nll(now, &exp.advantages, totals)
    }
}
