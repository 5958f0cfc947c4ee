//! Reward-weighted regression: imitate, each response weighed by exp(reward) (Peters & Schaal 2007; for language models Hu et
//! al. 2023, arXiv 2308.12050). Choices are numbered in docs/methods/rwr.md.

use crate::estimators::{mean, variance};
use crate::experience::{column, host, row_sums};
use crate::metrics::{self, Definitions, Metrics};
use crate::settings::{ensure, resolve as settle};
use crate::{
    Algorithm, Error, Experience, Feed, Loss, Needs, Pool, PoolNeeds, Result, SamplingPlan, Scores,
    Totals,
};
use candle_core::{Result as CResult, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const METRICS: Definitions = &[
    (
        "rwr/effective_rows",
        "(sum of weights)^2 / sum of squared weights over the step's responses: how many count",
    ),
    (
        "rwr/weight_max",
        "largest share of the step's total weight that one response has",
    ),
];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Temperature of the weights: exp(reward / beta)
    pub beta: f64,
    /// Rewards to mean 0, variance 1 over all responses first
    pub standardise: bool,
    /// Weights are held to this; 0 = off
    pub weight_max: f64,
    /// Weights are divided by their sum over `all` responses, over the `prompt`'s, or by nothing but the count (`none`)
    pub normalise: Normalise,
    /// Responses that the policy draws per prompt; 0 = learn from the data's own
    pub samples: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalise {
    All,
    Prompt,
    None,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            beta: 1.0,
            standardise: true,
            weight_max: 20.0,
            normalise: Normalise::All,
            samples: 0,
        }
    }
}

impl Config {
    fn check(&self) -> Result<()> {
        let beta = self.beta > 0.0 && self.beta.is_finite();
        ensure(beta, "beta", self.beta, "a number above 0")?;
        let most = self.weight_max >= 0.0 && self.weight_max.is_finite();
        ensure(most, "weight_max", self.weight_max, "a number, 0 or more")
    }
}

pub(crate) fn build(_name: &str, given: &Value, _seed: u64) -> Result<Box<dyn Algorithm>> {
    let config = settle(&Config::default(), given)?;
    config.check()?;
    Ok(Box::new(Rwr { config }))
}

pub(crate) fn defaults(_name: &str) -> Value {
    json!(Config::default())
}

pub(crate) fn resolve(_name: &str, given: &Value) -> Result<Value> {
    Ok(json!(settle(&Config::default(), given)?))
}

struct Rwr {
    config: Config,
}

/// Below this a standard deviation is rounding.
const LEAST_STD: f64 = 1e-6;

impl Rwr {
    /// Weights of responses by their scores and prompts, divided by what `normalise` asks for: they sum to 1, but for `none`.
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
            // cancels in the quotient, and keeps the largest at exp(0)
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
    fn needs(&self) -> Needs {
        let feed = match self.config.samples {
            0 => Feed::Pool(PoolNeeds {
                score: true,
                squash: false,
                prompt_value: None,
                grow: None,
                replacement: false,
            }),
            _ => Feed::Rollouts,
        };
        Needs {
            feed,
            ..Needs::default()
        }
    }

    fn plan(&mut self, prompts: &[u64], _step: u64) -> Result<Vec<SamplingPlan>> {
        let each = SamplingPlan {
            n: self.config.samples.max(1),
            temperature: None,
        };
        Ok(vec![each; prompts.len()])
    }

    /// Of stored responses all scores are known at once: 1 is what a response weighs on average.
    fn weigh(&self, pool: &Pool, _phase: u64) -> Result<(Vec<f64>, Metrics)> {
        let n_prompts = pool.prompt_key.iter().collect::<BTreeSet<_>>().len();
        if self.config.normalise == Normalise::Prompt && n_prompts == pool.prompt_key.len() {
            return Err(Error::Input(
                "algorithm.normalise = \"prompt\" compares the responses of one prompt, and every stored prompt has one: \
                 take \"all\", or draw some by algorithm.samples"
                    .into(),
            ));
        }
        let n = pool.score.len() as f64;
        let weights = self.weights(&pool.score, &pool.prompt_key);
        Ok((weights.iter().map(|w| w * n).collect(), Metrics::new()))
    }

    fn prepare(&mut self, mut exp: Experience) -> Result<(Experience, Metrics)> {
        exp.require(&[], &[("score", &exp.score)])?;
        let mut metrics = metrics::of_rollouts(&exp);
        let n = exp.n_rows() as f64;
        let weights = match exp.weight.is_empty() {
            true => self.weights(&exp.score, &exp.prompt_key),
            // of the pool
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
    fn loss(&self, now: &Scores, exp: &Experience, totals: Totals) -> CResult<Loss> {
        if exp.n_tokens() == 0 {
            let loss = Tensor::zeros((), now.logp.dtype(), now.logp.device())?;
            return Ok(Loss {
                loss,
                metrics: Metrics::new(),
            });
        }
        let logp = row_sums(&now.logp, &exp.layout())?;
        let loss = (logp * column(&exp.weight, &now.logp)?)?.sum_all()?.neg()?;
        let nll: f64 = host(&now.logp)?.iter().map(|l| -l).sum();
        let entropy: f64 = host(&now.entropy)?.iter().sum();
        let n = totals.tokens as f64;
        let metrics = Metrics::from([
            ("loss/policy".into(), host(&loss)?[0]),
            ("loss/nll".into(), nll / n),
            ("policy/entropy".into(), entropy / n),
        ]);
        Ok(Loss { loss, metrics })
    }

    fn state(&self) -> Value {
        json!({})
    }

    fn restore(&mut self, _state: &Value) -> Result<()> {
        Ok(())
    }
}
