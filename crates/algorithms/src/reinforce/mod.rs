//! REINFORCE with a baseline.
//!
//! Williams 1992; as in Kiegeland & Kreutzer 2021 (arXiv 2106.08942), and as the baseline that ESRL
//! is compared with. Choices are numbered (R1, R2, …) in docs/methods/reinforce.md.

mod config;
mod loss;

pub use config::{Config, Normaliser};
pub use loss::loss;

use crate::algorithm::Algorithm;
use crate::columns::{column, row_sums};
use crate::error::Result;
use crate::estimators::baseline::Baseline;
use crate::estimators::mean;
use crate::experience::{Experience, groups};
use crate::loss::{Loss, Scores, Totals, policy_metrics};
use crate::method::{Method, Name};
use crate::metrics::{Definitions, Metrics, advantage_metrics};
use crate::requirements::Requirements;
use crate::settings::bad_state;
use candle_core::{Result as CResult, Tensor};
use serde_json::Value;

impl Method for Reinforce {
    type Config = Config;
    const NAMES: &'static [Name] = &[Name {
        name: "reinforce",
        about: "policy gradient of whole responses with a baseline",
        paper: "Williams 1992; Kiegeland & Kreutzer 2021, arXiv 2106.08942",
    }];
    const PAGE: &'static str = "reinforce";
    const METRICS: Definitions = &[(
        "reinforce/baseline",
        "mean over responses of what is subtracted from their rewards",
    )];

    fn build(_name: &str, config: Config, _seed: u64) -> Box<dyn Algorithm> {
        Box::new(Self {
            baseline: Baseline::new(config.baseline, config.ema_decay, config.fifo),
            config,
        })
    }
}

/// REINFORCE over whole responses.
pub struct Reinforce {
    config: Config,
    baseline: Baseline,
}

impl Algorithm for Reinforce {
    fn requirements(&self) -> Requirements {
        Requirements {
            reference: self.config.reward().needs_reference(),
            minibatches: self.config.minibatches,
            at_sampling_temperature: true,
            max_samples: self.config.samples,
            ..Requirements::default()
        }
    }

    fn prepare(&mut self, mut exp: Experience) -> Result<(Experience, Metrics)> {
        let reward = self.config.reward();
        let rewards = reward.of(&exp)?;
        let b = self.baseline.of(&rewards, &groups(&exp.prompt_key));
        let advantages: Vec<f64> = rewards.iter().zip(&b).map(|(r, b)| r - b).collect();
        let mut metrics = reward.metrics(&exp, &rewards);
        metrics.extend(advantage_metrics(&advantages));
        metrics.insert("reinforce/baseline".into(), mean(&b));
        exp.weight = advantages.into_iter().map(|a| a as f32).collect();
        Ok((exp, metrics))
    }

    fn policy_loss(&self, now: &Scores, exp: &Experience, totals: Totals) -> CResult<Loss> {
        if exp.n_tokens() == 0 {
            return Loss::zero(&now.logp);
        }
        let n = match self.config.normalise {
            Normaliser::Tokens => totals.tokens,
            Normaliser::Rows => totals.rows,
        };
        let logp_seq: Tensor = row_sums(&now.logp, &exp.layout())?; // [R]
        let weight = column(&exp.weight, &now.logp)?; // [R]
        let loss = (loss(&logp_seq, &weight)? / n as f64)?;
        let metrics = policy_metrics(&loss, now, totals)?;
        Ok(Loss { loss, metrics })
    }

    fn state(&self) -> Value {
        self.baseline.state()
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        let read = self.baseline.restore(state);
        read.map_err(|e| bad_state("reinforce", e))
    }
}
