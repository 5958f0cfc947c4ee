//! Reward-weighted regression: imitate, each response weighed by exp(reward) (Peters & Schaal 2007; for language models Hu et
//! al. 2023, arXiv 2308.12050). Choices are numbered in docs/methods/rwr.md.

use crate::estimators::{mean, variance};
use crate::experience::{column, groups, host, row_sums};
use crate::metrics::{self, Definitions, Metrics};
use crate::settings::{ensure, resolve as settle};
use crate::{
    Algorithm, Experience, Feed, Loss, Needs, PoolNeeds, Result, SamplingPlan, Scores, Totals,
};
use candle_core::{Result as CResult, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

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
    /// Rewards to mean 0, variance 1 over the step first
    pub standardise: bool,
    /// Weights are held to this; 0 = off
    pub weight_max: f64,
    /// Weights are divided by their sum over the `batch`, over the `prompt`'s responses, or by nothing but the count (`none`)
    pub normalise: Normalise,
    /// Responses that the policy draws per prompt; 0 = learn from the data's own
    pub samples: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalise {
    Batch,
    Prompt,
    None,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            beta: 1.0,
            standardise: true,
            weight_max: 20.0,
            normalise: Normalise::Batch,
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

impl Rwr {
    /// Weights of the step's rows, each already divided by what `normalise` asks for.
    fn weights(&self, exp: &Experience) -> Vec<f64> {
        let c = &self.config;
        let mut rewards: Vec<f64> = exp.score.iter().map(|s| f64::from(*s)).collect();
        if c.standardise {
            let (m, s) = (mean(&rewards), variance(&rewards).sqrt());
            let scale = if s > 0.0 { s } else { 1.0 };
            rewards.iter_mut().for_each(|r| *r = (*r - m) / scale);
        }
        let groups = match c.normalise {
            Normalise::Prompt => groups(&exp.prompt_key),
            _ => std::iter::once(0..exp.n_rows()).collect(),
        };
        let n_groups = groups.len() as f64;
        let mut weights = vec![0.0; rewards.len()];
        for group in groups {
            // A constant added to the rewards of a group cancels where its weights are divided by their sum.
            let shift = match c.normalise {
                Normalise::None => 0.0,
                _ => rewards[group.clone()]
                    .iter()
                    .copied()
                    .fold(f64::MIN, f64::max),
            };
            let of = |row: usize| {
                let most = if c.weight_max > 0.0 {
                    c.weight_max.ln()
                } else {
                    f64::MAX
                };
                ((rewards[row] / c.beta).min(most) - (shift / c.beta).min(most)).exp()
            };
            let raw: Vec<f64> = group.clone().map(of).collect();
            let total = match c.normalise {
                Normalise::None => rewards.len() as f64,
                _ => raw.iter().sum::<f64>() * n_groups,
            };
            group.zip(raw).for_each(|(row, w)| weights[row] = w / total);
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

    fn prepare(&mut self, mut exp: Experience) -> Result<(Experience, Metrics)> {
        exp.require(&[], &[("score", &exp.score)])?;
        let mut metrics = metrics::of_rollouts(&exp);
        let weights = self.weights(&exp);
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
