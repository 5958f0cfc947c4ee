//! Reward-weighted regression: imitate, with each response weighted by exp(reward).
//!
//! Peters & Schaal 2007; for language models Hu et al. 2023 (arXiv 2308.12050). Choices are
//! numbered in docs/methods/rwr.md.

mod config;

pub use config::{Config, Normalise};

use crate::algorithm::Algorithm;
use crate::columns::{column, row_sums};
use crate::error::{Error, Result};
use crate::estimators::{mean, variance};
use crate::experience::Experience;
use crate::loss::{Loss, Scores, Totals, imitation_metrics};
use crate::method::{Method, Name};
use crate::metrics::{Definitions, Metrics, rollout_metrics};
use crate::pool_columns::PoolColumns;
use crate::requirements::{DataSource, PoolRequirements, Requirements};
use candle_core::Result as CResult;
use std::collections::{BTreeMap, BTreeSet};

impl Method for Rwr {
    type Config = Config;
    const NAMES: &'static [Name] = &[Name {
        name: "rwr",
        about: "reward-weighted regression: weights exp(reward / beta)",
        paper: "Peters and Schaal 2007; Hu et al. 2023, arXiv 2308.12050",
    }];
    const PAGE: &'static str = "rwr";
    const METRICS: Definitions = &[
        (
            "rwr/effective_rows",
            "(sum of weights)^2 / sum of squared weights over the step's responses: how many count",
        ),
        (
            "rwr/weight_max",
            "largest share of the step's total weight that one response has",
        ),
    ];

    fn build(_name: &str, config: Config, _seed: u64) -> Box<dyn Algorithm> {
        Box::new(Self { config })
    }
}

/// Reward-weighted regression.
pub(crate) struct Rwr {
    config: Config,
}

/// A standard deviation below this is rounding error.
const LEAST_STD: f64 = 1e-6;

impl Rwr {
    /// Weights of responses by their scores and prompts, divided as `normalise` asks. They sum to
    /// 1, except with `none`.
    fn weights(&self, scores: &[f32], prompts: &[u64]) -> Vec<f64> {
        let c = &self.config;
        let mut rewards: Vec<f64> = scores.iter().map(|s| f64::from(*s)).collect();
        if c.standardise {
            let (m, s) = (mean(&rewards), variance(&rewards).sqrt());
            let scale = if s > LEAST_STD { s } else { 1.0 };
            rewards.iter_mut().for_each(|r| *r = (*r - m) / scale);
        }
        let mut groups: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (row, prompt) in prompts.iter().enumerate() {
            let group = match c.normalise {
                Normalise::Prompt => *prompt,
                Normalise::All | Normalise::None => 0,
            };
            groups.entry(group).or_default().push(row);
        }
        let most = match c.weight_max {
            0.0 => f64::INFINITY,
            most => most.ln(),
        };
        let n_groups = groups.len() as f64;
        let mut weights = vec![0.0; rewards.len()];
        for rows in groups.into_values() {
            let of_group: Vec<f64> = rows.iter().map(|row| rewards[*row]).collect();
            let centre = match c.normalise {
                Normalise::None => 0.0,
                _ => mean(&of_group),
            };
            let exponents: Vec<f64> = of_group
                .iter()
                .map(|r| ((r - centre) / c.beta).min(most))
                .collect();
            // cancels in the quotient, and the largest becomes exp(0)
            let top = match c.normalise {
                Normalise::None => 0.0,
                _ => exponents.iter().copied().fold(f64::MIN, f64::max),
            };
            let raw: Vec<f64> = exponents.iter().map(|e| (e - top).exp()).collect();
            let total = match c.normalise {
                Normalise::None => rewards.len() as f64,
                _ => raw.iter().sum::<f64>() * n_groups,
            };
            for (row, w) in rows.into_iter().zip(raw) {
                weights[row] = w / total;
            }
        }
        weights
    }
}

impl Algorithm for Rwr {
    fn requirements(&self) -> Requirements {
        let source = match self.config.samples {
            0 => DataSource::Pool(PoolRequirements {
                score: true,
                ..PoolRequirements::default()
            }),
            _ => DataSource::Rollouts,
        };
        Requirements {
            source,
            max_samples: self.config.samples.max(1),
            ..Requirements::default()
        }
    }

    /// All scores of stored responses are known at once. The mean weight is 1.
    fn weigh(&self, pool: &PoolColumns, _phase: u64) -> Result<(Vec<f64>, Metrics)> {
        let n_prompts = pool.prompt_key.iter().collect::<BTreeSet<_>>().len();
        if self.config.normalise == Normalise::Prompt && n_prompts == pool.prompt_key.len() {
            return Err(Error::Input(
                "algorithm.normalise = \"prompt\" compares the responses of one prompt, but every stored \
                 prompt has only one; use \"all\", or sample some with algorithm.samples"
                    .into(),
            ));
        }
        let n = pool.score.len() as f64;
        let weights = self.weights(&pool.score, &pool.prompt_key);
        Ok((weights.iter().map(|w| w * n).collect(), Metrics::new()))
    }

    fn prepare(&mut self, mut exp: Experience) -> Result<(Experience, Metrics)> {
        exp.require(&[], &[("score", &exp.score)])?;
        let mut metrics = rollout_metrics(&exp);
        let n = exp.n_rows() as f64;
        let weights = match exp.weight.is_empty() {
            true => self.weights(&exp.score, &exp.prompt_key),
            // weights of the pool
            false => exp.weight.iter().map(|w| f64::from(*w) / n).collect(),
        };
        let (sum, squares): (f64, f64) =
            (weights.iter().sum(), weights.iter().map(|w| w * w).sum());
        let largest = weights.iter().copied().fold(0.0, f64::max);
        if sum > 0.0 {
            metrics.insert("rwr/effective_rows".into(), sum * sum / squares);
            metrics.insert("rwr/weight_max".into(), largest / sum);
        }
        exp.weight = weights.into_iter().map(|w| w as f32).collect();
        Ok((exp, metrics))
    }

    /// `−Σ_i w_i log p(y_i|x_i)`; the weights carry the division.
    fn policy_loss(&self, now: &Scores, exp: &Experience, totals: Totals) -> CResult<Loss> {
        if exp.n_tokens() == 0 {
            return Loss::zero(&now.logp);
        }
        let logp = row_sums(&now.logp, &exp.layout())?;
        let loss = (logp * column(&exp.weight, &now.logp)?)?.sum_all()?.neg()?;
        let metrics = imitation_metrics(&loss, now, totals)?;
        Ok(Loss { loss, metrics })
    }
}
