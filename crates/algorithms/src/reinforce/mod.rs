//! REINFORCE with a baseline (Williams 1992; as Kiegeland & Kreutzer 2021, arXiv 2106.08942, and as ESRL's rival). Choices are
//! numbered (R1, R2, …) in docs/methods/reinforce.md.

mod config;
mod loss;

pub use config::Config;
pub use loss::loss;

use crate::estimators::baseline::Baseline;
use crate::estimators::mean;
use crate::experience::{column, groups, row_sums};
use crate::metrics::{self, Definitions, Metrics};
use crate::settings::{self, bad_state};
use crate::{Algorithm, Experience, Loss, Needs, Result, SamplingPlan, Scores, Totals};
use candle_core::{Result as CResult, Tensor};
use config::Normaliser;
use serde_json::{Value, json};

/// What REINFORCE alone logs.
pub(crate) const METRICS: Definitions = &[(
    "reinforce/baseline",
    "mean over responses of what is subtracted from their rewards",
)];

pub(crate) fn build(_name: &str, given: &Value, _seed: u64) -> Result<Box<dyn Algorithm>> {
    let config: Config = settings::resolve(&Config::default(), given)?;
    config.check()?;
    Ok(Box::new(Reinforce {
        baseline: Baseline::new(config.baseline, config.ema_decay, config.fifo),
        config,
    }))
}

pub(crate) fn defaults(_name: &str) -> Value {
    json!(Config::default())
}

pub(crate) fn resolve(_name: &str, given: &Value) -> Result<Value> {
    Ok(json!(settings::resolve(&Config::default(), given)?))
}

pub struct Reinforce {
    config: Config,
    baseline: Baseline,
}

impl Algorithm for Reinforce {
    fn needs(&self) -> Needs {
        Needs {
            reference: self.config.reward().needs_reference(),
            minibatches: self.config.minibatches,
            tempered: true,
            samples: self.config.samples,
            ..Needs::default()
        }
    }

    fn plan(&mut self, prompts: &[u64], _step: u64) -> Result<Vec<SamplingPlan>> {
        Ok(SamplingPlan::each(prompts, self.config.samples))
    }

    fn prepare(&mut self, mut exp: Experience) -> Result<(Experience, Metrics)> {
        let reward = self.config.reward();
        let rewards = reward.of(&exp)?;
        let b = self.baseline.of(&rewards, &groups(&exp.prompt_key));
        let advantages: Vec<f64> = rewards.iter().zip(&b).map(|(r, b)| r - b).collect();
        let mut metrics = reward.metrics(&exp, &rewards);
        metrics.extend(metrics::of_advantages(&advantages));
        metrics.insert("reinforce/baseline".into(), mean(&b));
        exp.weight = advantages.into_iter().map(|a| a as f32).collect();
        Ok((exp, metrics))
    }

    fn loss(&self, now: &Scores, exp: &Experience, totals: Totals) -> CResult<Loss> {
        if exp.n_tokens() == 0 {
            return Loss::nothing(now);
        }
        let n = match self.config.normalise {
            Normaliser::Tokens => totals.tokens,
            Normaliser::Rows => totals.rows,
        };
        let logp_seq: Tensor = row_sums(&now.logp, &exp.layout())?; // [R]
        let weight = column(&exp.weight, &now.logp)?; // [R]
        let loss = (loss(&logp_seq, &weight)? / n as f64)?;
        let metrics = metrics::of_update(&loss, now, totals)?;
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
