//! Advantage-leftover-lunch RL (A-LoL): offline policy gradient where a whole response is one
//! action, weighted by its advantage over what the reference would score; and the reward-weighted
//! baselines it is compared with.
//!
//! Baheti et al., ICLR 2024 (arXiv 2305.14718). Written from the equations. Choices are numbered in
//! docs/methods/a_lol.md.

mod config;
mod variant;

pub use config::Config;

use crate::algorithm::Algorithm;
use crate::clipped::MAX_LOG_RATIO;
use crate::columns::{column, host, row_sums};
use crate::error::{Error, Result};
use crate::estimators::mean;
use crate::experience::Experience;
use crate::loss::{Loss, Scores, Totals, imitation_metrics};
use crate::method::{Method, Name};
use crate::metrics::{Definitions, Metrics, rollout_metrics};
use crate::pool_columns::PoolColumns;
use crate::requirements::{DataSource, PoolRequirements, Requirements};
use candle_core::Result as CResult;
use serde_json::Value;
use variant::Variant;

const PAPER: &str = "Baheti et al. 2024, arXiv 2305.14718";

impl Method for ALol {
    type Config = Config;
    const NAMES: &'static [Name] = &[
        Name {
            name: "a_lol",
            about: "offline: demonstrations weighed by advantage over the reference and a clipped importance weight",
            paper: PAPER,
        },
        Name {
            name: "a_lol_seq",
            about: "A-LoL with an importance weight per token",
            paper: PAPER,
        },
        Name {
            name: "a_lol_ref_free",
            about: "A-LoL without importance weight",
            paper: PAPER,
        },
        Name {
            name: "a_lol_kl",
            about: "A-LoL with a penalty on the log-ratio to the reference instead",
            paper: PAPER,
        },
        Name {
            name: "r_lol",
            about: "A-LoL with the reward in place of the advantage",
            paper: PAPER,
        },
        Name {
            name: "wbc",
            about: "weighted behaviour cloning: demonstrations weighed by reward",
            paper: "Wang et al. 2020, arXiv 2006.15134; as in Baheti et al. 2024, arXiv 2305.14718",
        },
        Name {
            name: "r_gold",
            about: "GOLD with the reward of the whole response",
            paper: "as in Baheti et al. 2024, arXiv 2305.14718",
        },
    ];
    const PAGE: &'static str = "a_lol";
    const METRICS: Definitions = &[
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

    fn defaults(name: &str, _given: &Value) -> Result<Config> {
        Ok(Config::of(Variant::of(name)))
    }

    fn build(name: &str, config: Config, _seed: u64) -> Box<dyn Algorithm> {
        let variant = Variant::of(name);
        Box::new(Self { config, variant })
    }
}

/// A method of the A-LoL family.
pub(crate) struct ALol {
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

    /// The factor on each token's −log π, without gradient, `[M]`; and the sum over rows of their
    /// importance weights.
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
    fn requirements(&self) -> Requirements {
        Requirements {
            source: DataSource::Pool(PoolRequirements {
                score: true,
                squash: true,
                prompt_value: self.config.value_fit(),
                replacement: self.config.priority,
                ..PoolRequirements::default()
            }),
            reference: self.variant.clips() || self.variant == Variant::Kl,
            ..Requirements::default()
        }
    }

    fn weigh(&self, pool: &PoolColumns, _phase: u64) -> Result<(Vec<f64>, Metrics)> {
        let advantages: Vec<f64> = (0..pool.score.len())
            .map(|row| self.advantage(pool.score[row], pool.prompt_value.get(row)))
            .collect();
        let positive = advantages.iter().filter(|a| **a > 0.0).count();
        if positive == 0 {
            let n = advantages.len();
            return Err(Error::Input(match pool.prompt_value.is_empty() {
                true => format!(
                    "the rewards of all {n} stored responses are 0 after the logistic function; look \
                     at the scale of the rewards"
                ),
                false => format!(
                    "no stored response scores above the reference's expected score ({n} responses), \
                     so there is nothing to learn from; add better responses, or use wbc or rwr"
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
        let tokens = if self.requirements().reference {
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
        let mut metrics = rollout_metrics(&exp);
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

    fn policy_loss(&self, now: &Scores, exp: &Experience, totals: Totals) -> CResult<Loss> {
        if exp.n_tokens() == 0 {
            return Loss::zero(&now.logp);
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
        let mut metrics = imitation_metrics(&loss, now, totals)?;
        if self.variant.clips() || self.variant == Variant::RGold {
            metrics.insert("a_lol/importance_weight".into(), importance / n);
        }
        Ok(Loss { loss, metrics })
    }
}
