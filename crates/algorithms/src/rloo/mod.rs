//! RLOO: REINFORCE over whole responses, each against the mean reward of the prompt's other
//! samples.
//!
//! Ahmadian et al. 2024 (arXiv 2402.14740), with TRL's clipped ratio. Choices are numbered (L1, L2,
//! …) in docs/methods/rloo.md.

mod config;

pub use config::Config;

use crate::algorithm::Algorithm;
use crate::clipped::{Surrogate, surrogate};
use crate::columns::{column, row_sums};
use crate::error::Result;
use crate::estimators::baseline::leave_one_out;
use crate::estimators::{mean, sample_std};
use crate::experience::{Experience, groups};
use crate::loss::{Loss, Scores, Totals, policy_metrics};
use crate::method::{Method, Name};
use crate::metrics::{Metrics, advantage_metrics, group_metrics};
use crate::requirements::Requirements;
use candle_core::Result as CResult;

impl Method for Rloo {
    type Config = Config;
    const NAMES: &'static [Name] = &[Name {
        name: "rloo",
        about: "REINFORCE with the mean of the prompt's other samples as baseline, no critic",
        paper: "Ahmadian et al. 2024, arXiv 2402.14740",
    }];
    const PAGE: &'static str = "rloo";

    fn build(_name: &str, config: Config, _seed: u64) -> Box<dyn Algorithm> {
        Box::new(Self { config })
    }
}

/// REINFORCE leave-one-out.
pub struct Rloo {
    config: Config,
}

impl Algorithm for Rloo {
    fn requirements(&self) -> Requirements {
        let c = &self.config;
        Requirements {
            reference: c.reward().needs_reference(),
            epochs: c.updates.epochs,
            minibatches: c.updates.minibatches,
            at_sampling_temperature: true,
            max_samples: c.samples,
            ..Requirements::default()
        }
    }

    fn prepare(&mut self, mut exp: Experience) -> Result<(Experience, Metrics)> {
        let c = &self.config;
        exp.require(&[("logp_old", &exp.logp_old)], &[])?;
        let reward = c.reward();
        let rewards = reward.of(&exp)?;
        let groups = groups(&exp.prompt_key);
        let mut metrics = reward.metrics(&exp, &rewards);
        metrics.extend(group_metrics(&rewards, &groups));
        let b = groups.into_iter().flat_map(|g| leave_one_out(&rewards[g]));
        let mut advantages: Vec<f64> = rewards.iter().zip(b).map(|(r, b)| r - b).collect();
        metrics.extend(advantage_metrics(&advantages));
        if c.normalise_advantages {
            let (m, std) = (mean(&advantages), sample_std(&advantages));
            advantages
                .iter_mut()
                .for_each(|a| *a = (*a - m) / (std + 1e-4));
        }
        exp.weight = advantages.into_iter().map(|a| a as f32).collect();
        Ok((exp, metrics))
    }

    fn policy_loss(&self, now: &Scores, exp: &Experience, totals: Totals) -> CResult<Loss> {
        // A row without tokens has no probability, hence no ratio.
        let exp = exp.with_tokens();
        if exp.n_rows() == 0 {
            return Loss::zero(&now.logp);
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
        metrics.extend(policy_metrics(&loss, now, totals)?);
        Ok(Loss { loss, metrics })
    }
}
