//! Advantage-leftover-lunch RL: offline policy gradient where a whole response is one action, weighed by its advantage over
//! what the reference would score (Baheti et al., ICLR 2024, arXiv 2305.14718), and the reward-weighted baselines it is
//! compared with. Written from the equations. Choices are numbered in docs/methods/a_lol.md.

mod config;

pub use config::Config;

use crate::estimators::mean;
use crate::experience::{column, host, row_sums};
use crate::metrics::{self, Definitions, Metrics};
use crate::{
    Algorithm, Error, Experience, Feed, Loss, Needs, Pool, PoolNeeds, Result, Scores, Totals,
};
use candle_core::{Result as CResult, Tensor};
use serde_json::{Value, json};

/// Log-ratios are held to this before they are exponentiated.
const MAX_LOG_RATIO: f64 = 20.0;

pub(crate) const METRICS: Definitions = &[
    (
        "a_lol/positive_frac",
        "share of the stored responses with a weight above 0; logged once",
    ),
    (
        "a_lol/advantage_mean",
        "mean over the stored responses of R - V_ref (methods without V_ref: of R); logged once",
    ),
    (
        "a_lol/value_mean",
        "mean over the stored responses of V_ref of their prompts; logged once",
    ),
    (
        "a_lol/row_weight",
        "mean over the step's responses of the advantage (or reward) that weighs them",
    ),
    (
        "a_lol/importance_weight",
        "mean over responses of the clipped p / p_ref (a_lol_seq: of its mean over the tokens; r_gold: of max(p, u)), mean over the step's updates",
    ),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    ALol,
    Seq,
    RefFree,
    Kl,
    RLol,
    Wbc,
    RGold,
}

impl Variant {
    fn of(name: &str) -> Self {
        match name {
            "a_lol" => Self::ALol,
            "a_lol_seq" => Self::Seq,
            "a_lol_ref_free" => Self::RefFree,
            "a_lol_kl" => Self::Kl,
            "r_lol" => Self::RLol,
            "wbc" => Self::Wbc,
            _ => Self::RGold,
        }
    }

    /// Weighed by A = R − V_ref; else by R.
    pub(crate) fn by_advantage(self) -> bool {
        matches!(self, Self::ALol | Self::Seq | Self::RefFree | Self::Kl)
    }

    /// Has an importance weight that is clipped.
    pub(crate) fn clips(self) -> bool {
        matches!(self, Self::ALol | Self::Seq | Self::RLol)
    }
}

pub(crate) fn build(name: &str, given: &Value, _seed: u64) -> Result<Box<dyn Algorithm>> {
    let variant = Variant::of(name);
    let config = Config::resolve(variant, given)?;
    config.check()?;
    Ok(Box::new(ALol { config, variant }))
}

pub(crate) fn defaults(name: &str) -> Value {
    json!(Config::of(Variant::of(name)))
}

pub(crate) fn resolve(name: &str, given: &Value) -> Result<Value> {
    Ok(json!(Config::resolve(Variant::of(name), given)?))
}

struct ALol {
    config: Config,
    variant: Variant,
}

impl ALol {
    /// R − V_ref, or R.
    fn advantage(&self, score: f32, value: Option<&f32>) -> f64 {
        match self.variant.by_advantage() {
            true => f64::from(score) - f64::from(*value.unwrap_or(&0.0)),
            false => f64::from(score),
        }
    }

    /// What multiplies each token's −log π, without gradient: `[M]`.
    fn token_weights(&self, now: &Scores, exp: &Experience) -> CResult<(Vec<f32>, f64)> {
        let logp = host(&now.logp)?;
        let clip = |log_ratio: f64| {
            let eps = self.config.clip.unwrap_or(f64::MAX);
            let ratio = log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp();
            ratio.clamp((1.0 - eps).max(0.0), 1.0 + eps)
        };
        let against = |t: usize| logp[t] - f64::from(exp.logp_ref[t]);
        let (mut weights, mut importance) = (Vec::with_capacity(logp.len()), 0.0);
        for (row, tokens) in exp.layout().ranges().enumerate() {
            let base = f64::from(exp.weight[row]);
            let of_row = match self.variant {
                Variant::ALol | Variant::RLol => clip(tokens.clone().map(against).sum()),
                _ => 1.0,
            };
            let mut sum = 0.0;
            for t in tokens {
                let of_token = match self.variant {
                    Variant::Seq => clip(against(t)),
                    Variant::RGold => logp[t].exp().max(self.config.weight_min.unwrap_or(0.0)),
                    _ => of_row,
                };
                sum += of_token;
                weights.push((base * of_token) as f32);
            }
            importance += match self.variant {
                Variant::ALol | Variant::RLol => of_row,
                _ => sum / exp.lens[row].max(1) as f64,
            };
        }
        Ok((weights, importance))
    }
}

impl Algorithm for ALol {
    fn needs(&self) -> Needs {
        Needs {
            feed: Feed::Pool(PoolNeeds {
                score: true,
                squash: true,
                prompt_value: self.config.value_fit(),
                grow: None,
                replacement: self.config.priority,
            }),
            reference: self.variant.clips() || self.variant == Variant::Kl,
            ..Needs::default()
        }
    }

    fn weigh(&self, pool: &Pool, _phase: u64) -> Result<(Vec<f64>, Metrics)> {
        let advantages: Vec<f64> = (0..pool.score.len())
            .map(|row| self.advantage(pool.score[row], pool.prompt_value.get(row)))
            .collect();
        let positive = advantages.iter().filter(|a| **a > 0.0).count();
        if positive == 0 {
            let n = advantages.len();
            return Err(Error::Input(match pool.prompt_value.is_empty() {
                true => format!(
                    "the rewards of all {n} stored responses are 0 after the logistic function; look at the scale of the rewards"
                ),
                false => format!(
                    "no stored response scores above what the reference is expected to ({n} responses); \
                     there is nothing to learn from: add better responses, or take wbc or rwr"
                ),
            }));
        }
        let values: Vec<f64> = pool.prompt_value.iter().map(|v| f64::from(*v)).collect();
        let mut metrics = Metrics::from([
            (
                "a_lol/positive_frac".into(),
                positive as f64 / advantages.len() as f64,
            ),
            ("a_lol/advantage_mean".into(), mean(&advantages)),
        ]);
        if !values.is_empty() {
            metrics.insert("a_lol/value_mean".into(), mean(&values));
        }
        let weight = |a: &f64| match (self.config.priority, *a > 0.0) {
            (_, false) => 0.0,
            (true, true) => *a,
            (false, true) => 1.0,
        };
        Ok((advantages.iter().map(weight).collect(), metrics))
    }

    fn prepare(&mut self, mut exp: Experience) -> Result<(Experience, Metrics)> {
        let reference = [("logp_ref", &exp.logp_ref[..])];
        let tokens = if self.needs().reference {
            &reference[..]
        } else {
            &[]
        };
        let value = [
            ("score", &exp.score[..]),
            ("prompt_value", &exp.prompt_value),
        ];
        let rows = if self.variant.by_advantage() {
            &value[..]
        } else {
            &value[..1]
        };
        exp.require(tokens, rows)?;
        let mut metrics = metrics::of_rollouts(&exp);
        let weights: Vec<f64> = (0..exp.n_rows())
            .map(|row| {
                self.advantage(exp.score[row], exp.prompt_value.get(row))
                    .max(0.0)
            })
            .collect();
        metrics.insert("a_lol/row_weight".into(), mean(&weights));
        exp.weight = weights.into_iter().map(|w| w as f32).collect();
        Ok((exp, metrics))
    }

    fn loss(&self, now: &Scores, exp: &Experience, totals: Totals) -> CResult<Loss> {
        if exp.n_tokens() == 0 {
            let loss = Tensor::zeros((), now.logp.dtype(), now.logp.device())?;
            return Ok(Loss {
                loss,
                metrics: Metrics::new(),
            });
        }
        let n = totals.rows as f64;
        let (weights, importance) = self.token_weights(now, exp)?;
        let weights = column(&weights, &now.logp)?;
        let mut loss = ((&now.logp * weights)?.sum_all()?.neg()? / n)?;
        if let Some(beta) = self.config.kl_coef {
            let reference: Vec<f32> = exp
                .row_sums(&exp.logp_ref)
                .iter()
                .map(|v| *v as f32)
                .collect();
            let logp = row_sums(&now.logp, &exp.layout())?;
            let kl = (logp - column(&reference, &now.logp)?)?.sum_all()?;
            loss = (loss + (kl * (beta / n))?)?;
        }
        let nll: f64 = host(&now.logp)?.iter().map(|l| -l).sum();
        let entropy: f64 = host(&now.entropy)?.iter().sum();
        let mut metrics = Metrics::from([
            ("loss/policy".into(), host(&loss)?[0]),
            ("loss/nll".into(), nll / totals.tokens as f64),
            ("policy/entropy".into(), entropy / totals.tokens as f64),
        ]);
        if self.variant.clips() || self.variant == Variant::RGold {
            metrics.insert("a_lol/importance_weight".into(), importance / n);
        }
        Ok(Loss { loss, metrics })
    }

    fn state(&self) -> Value {
        json!({})
    }

    fn restore(&mut self, _state: &Value) -> Result<()> {
        Ok(())
    }
}
