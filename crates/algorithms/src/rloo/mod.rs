//! RLOO: REINFORCE over whole responses, each against the mean reward of the prompt's other samples (Ahmadian et al. 2024, arXiv
//! 2402.14740), with TRL's clipped ratio. Choices are numbered (L1, L2, …) in docs/methods/rloo.md.

mod config;

pub use config::Config;

use crate::clipped::{Surrogate, surrogate};
use crate::estimators::baseline::leave_one_out;
use crate::estimators::{mean, sample_std};
use crate::experience::{column, groups, row_sums};
use crate::metrics::{self, Metrics};
use crate::settings;
use crate::{Algorithm, Experience, Loss, Needs, Result, SamplingPlan, Scores, Totals};
use candle_core::Result as CResult;
use serde_json::{Value, json};

pub(crate) fn build(_name: &str, given: &Value, _seed: u64) -> Result<Box<dyn Algorithm>> {
    let config: Config = settings::resolve(&Config::default(), given)?;
    config.check()?;
    Ok(Box::new(Rloo { config }))
}

pub(crate) fn defaults(_name: &str) -> Value {
    json!(Config::default())
}

pub(crate) fn resolve(_name: &str, given: &Value) -> Result<Value> {
    Ok(json!(settings::resolve(&Config::default(), given)?))
}

pub struct Rloo {
    config: Config,
}

impl Algorithm for Rloo {
    fn needs(&self) -> Needs {
        let c = &self.config;
        Needs {
            reference: c.reward().needs_reference(),
            epochs: c.epochs,
            minibatches: c.minibatches,
            tempered: true,
            samples: c.samples,
            ..Needs::default()
        }
    }

    fn plan(&mut self, prompts: &[u64], _step: u64) -> Result<Vec<SamplingPlan>> {
        Ok(SamplingPlan::each(prompts, self.config.samples))
    }

    fn prepare(&mut self, mut exp: Experience) -> Result<(Experience, Metrics)> {
        let c = &self.config;
        exp.require(&[("logp_old", &exp.logp_old)], &[])?;
        let reward = c.reward();
        let rewards = reward.of(&exp)?;
        let groups = groups(&exp.prompt_key);
        let mut metrics = reward.metrics(&exp, &rewards);
        metrics.extend(metrics::of_groups(&rewards, &groups));
        let b = groups.into_iter().flat_map(|g| leave_one_out(&rewards[g]));
        let mut advantages: Vec<f64> = rewards.iter().zip(b).map(|(r, b)| r - b).collect();
        metrics.extend(metrics::of_advantages(&advantages));
        if c.normalise_advantages {
            let (m, std) = (mean(&advantages), sample_std(&advantages));
            advantages
                .iter_mut()
                .for_each(|a| *a = (*a - m) / (std + 1e-4));
        }
        exp.weight = advantages.into_iter().map(|a| a as f32).collect();
        Ok((exp, metrics))
    }

    fn loss(&self, now: &Scores, exp: &Experience, totals: Totals) -> CResult<Loss> {
        // A row without tokens has no probability, and no ratio of one.
        let exp = exp.with_tokens();
        if exp.n_rows() == 0 {
            return Loss::nothing(now);
        }
        let n = totals.rows as f64;
        let bounds = match self.config.clip {
            0.0 => 0.0..f64::INFINITY,
            clip => 1.0 - clip..1.0 + clip,
        };
        let log_ratio = (&now.logp - column(&exp.logp_old, &now.logp)?)?; // [M]
        let log_ratio = row_sums(&log_ratio, &exp.layout())?; // [R]
        let Surrogate { loss, mut metrics } = surrogate(&log_ratio, &exp.weight, bounds, n)?;
        let loss = (loss.sum_all()? / n)?;
        metrics.extend(metrics::of_update(&loss, now, totals)?);
        Ok(Loss { loss, metrics })
    }

    fn state(&self) -> Value {
        json!({})
    }

    fn restore(&mut self, _state: &Value) -> Result<()> {
        Ok(())
    }
}
