//! Reinforced self-training (Gulcehre et al. 2023, arXiv 2308.08998).
//!
//! Grow: sample responses from the policy and score them. Improve: imitate those above a threshold,
//! several times, with a higher threshold each time. Choices are numbered in docs/methods/rest.md.

mod config;
mod filter;

pub use config::Config;

use crate::algorithm::Algorithm;
use crate::error::{Error, Result};
use crate::estimators::mean;
use crate::experience::Experience;
use crate::gold::Gold;
use crate::loss::{Loss, Scores, Totals};
use crate::method::{Method, Name};
use crate::metrics::{Definitions, Metrics, rollout_metrics};
use crate::pool_columns::PoolColumns;
use crate::requirements::{DataSource, Grow, PoolRequirements, Requirements};
use crate::weighted_nll::weighted_nll;
use candle_core::Result as CResult;
use serde_json::Value;

impl Method for Rest {
    type Config = Config;
    const NAMES: &'static [Name] = &[Name {
        name: "rest",
        about: "grow a pool of samples, improve by imitating those above rising thresholds",
        paper: "Gulcehre et al. 2023, arXiv 2308.08998",
    }];
    const PAGE: &'static str = "rest";
    const METRICS: Definitions = &[
        (
            "rest/improve",
            "number of the Improve after its Grow, from 1; logged where it begins",
        ),
        (
            "rest/threshold",
            "its threshold, as the config gives it; logged where it begins",
        ),
        (
            "rest/kept_frac",
            "share of the pool that passes the filter; logged where an Improve begins",
        ),
        (
            "rest/drawn_reward",
            "mean score (0..1) of the responses that the policy drew for the pool; logged where an Improve begins",
        ),
        (
            "rest/kept_reward",
            "mean score (0..1) of the responses that pass the filter; logged where an Improve begins",
        ),
    ];

    fn defaults(_name: &str, given: &Value) -> Result<Config> {
        Config::defaults(given)
    }

    fn build(_name: &str, config: Config, _seed: u64) -> Box<dyn Algorithm> {
        let gold = config.gold.clone().map(Gold::s);
        Box::new(Self { config, gold })
    }
}

/// Reinforced self-training.
pub(crate) struct Rest {
    config: Config,
    /// The inner loss, when it is GOLD's.
    gold: Option<Gold>,
}

impl Rest {
    /// The number of the Improve within its Grow, from 0, that a phase is.
    fn improve(&self, phase: u64) -> usize {
        (phase % self.config.thresholds.len() as u64) as usize
    }
}

impl Algorithm for Rest {
    fn requirements(&self) -> Requirements {
        let c = &self.config;
        let models = self.gold.as_ref().map(Gold::model_requirements);
        Requirements {
            source: DataSource::Pool(PoolRequirements {
                score: true,
                squash: true,
                prompt_value: None,
                grow: Some(Grow {
                    samples: c.samples,
                    temperature: c.temperature as f32,
                    every: c.improve_steps * c.thresholds.len() as u64,
                    keep_data: c.keep_data,
                }),
                replacement: false,
            }),
            ..models.unwrap_or_default()
        }
    }

    /// A phase is an Improve, counted over all Grows.
    fn phase(&self, step: u64) -> u64 {
        step / self.config.improve_steps
    }

    fn weigh(&self, pool: &PoolColumns, phase: u64) -> Result<(Vec<f64>, Metrics)> {
        let c = &self.config;
        let improve = self.improve(phase);
        let threshold = c.thresholds[improve];
        let mut kept = filter::passing(pool, c.filter, threshold);
        if !kept.contains(&true) {
            if !c.fallback {
                let best = pool.score.iter().copied().fold(f32::MIN, f32::max);
                return Err(Error::Input(format!(
                    "no response of the pool scores above {threshold} (Improve {} after its Grow, \
                     {} responses, the best has {best:.3}); lower algorithm.thresholds or set \
                     algorithm.fallback = true",
                    improve + 1,
                    kept.len()
                )));
            }
            kept = filter::passing(pool, config::Filter::Between, 1.0);
        }
        if c.deduplicate {
            filter::drop_repeated(pool, &mut kept);
        }
        let scores = |which: &dyn Fn(usize) -> bool| {
            let rows = (0..pool.score.len()).filter(|row| which(*row));
            mean(
                &rows
                    .map(|row| f64::from(pool.score[row]))
                    .collect::<Vec<_>>(),
            )
        };
        let n_kept = kept.iter().filter(|kept| **kept).count();
        let metrics = Metrics::from([
            ("rest/improve".into(), (improve + 1) as f64),
            ("rest/threshold".into(), threshold),
            (
                "rest/kept_frac".into(),
                n_kept as f64 / kept.len().max(1) as f64,
            ),
            ("rest/drawn_reward".into(), scores(&|row| pool.sampled[row])),
            ("rest/kept_reward".into(), scores(&|row| kept[row])),
        ]);
        let weights = kept.into_iter().map(|kept| f64::from(u8::from(kept)));
        Ok((weights.collect(), metrics))
    }

    fn lr_scale(&self, step: u64) -> f64 {
        self.config
            .lr_decay
            .powi(self.improve(self.phase(step)) as i32)
    }

    fn prepare(&mut self, mut exp: Experience) -> Result<(Experience, Metrics)> {
        exp.require(&[], &[("score", &exp.score)])?;
        let mut own = Metrics::new();
        match &self.gold {
            Some(gold) => (exp, own) = gold.weigh_tokens(exp)?,
            None => exp.advantages = vec![1.0; exp.n_tokens()],
        }
        let mut metrics = rollout_metrics(&exp);
        metrics.extend(own);
        Ok((exp, metrics))
    }

    fn policy_loss(&self, now: &Scores, exp: &Experience, totals: Totals) -> CResult<Loss> {
        weighted_nll(now, &exp.advantages, totals)
    }
}
