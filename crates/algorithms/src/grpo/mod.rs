//! GRPO: a clipped policy gradient whose baseline is the mean of the prompt's samples, with the KL
//! in the loss and no critic.
//!
//! Shao et al. 2024 (arXiv 2402.03300); options of BNPO, DAPO and Dr. GRPO. Choices are numbered
//! (G1, G2, …) in docs/methods/grpo.md.

mod config;

pub use config::{Aggregation, Config, Scale};

use crate::algorithm::Algorithm;
use crate::clipped::{MAX_LOG_RATIO, Surrogate, surrogate};
use crate::columns::{column, host};
use crate::error::Result;
use crate::estimators::{mean, sample_std};
use crate::experience::{Experience, groups};
use crate::loss::{Loss, Scores, Totals, policy_metrics};
use crate::method::{Method, Name};
use crate::metrics::{Definitions, Metrics, advantage_metrics, group_metrics};
use crate::requirements::Requirements;
use candle_core::{Result as CResult, Tensor};
use std::ops::Range;

/// Added to a standard deviation before dividing by it.
const EPS: f64 = 1e-4;

impl Method for Grpo {
    type Config = Config;
    const NAMES: &'static [Name] = &[Name {
        name: "grpo",
        about: "clipped policy gradient against the prompt's other samples, KL in the loss, no critic",
        paper: "Shao et al. 2024, arXiv 2402.03300",
    }];
    const PAGE: &'static str = "grpo";
    const METRICS: Definitions = &[
        (
            "loss/kl",
            "beta times the aggregated k3 divergence from the reference during the update, mean over the step's updates",
        ),
        (
            "grpo/kl",
            "mean over tokens of k3, exp(x) - 1 - x, x = logp_ref - logp during the update",
        ),
    ];

    fn build(_name: &str, config: Config, _seed: u64) -> Box<dyn Algorithm> {
        Box::new(Self { config })
    }
}

/// Group relative policy optimisation.
pub struct Grpo {
    config: Config,
}

impl Grpo {
    /// A of each row, `[R]`.
    fn advantages(&self, rewards: &[f64], groups: &[Range<usize>]) -> Vec<f64> {
        let of_batch = sample_std(rewards) + EPS;
        let of_group = |group: &Range<usize>| {
            let rewards = &rewards[group.clone()];
            let (m, std) = (mean(rewards), sample_std(rewards) + EPS);
            let scale = match self.config.scale_rewards {
                Scale::Group => std,
                Scale::Batch => of_batch,
                Scale::None => 1.0,
            };
            rewards.iter().map(move |r| (r - m) / scale)
        };
        groups.iter().flat_map(of_group).collect()
    }

    /// The weight of each token of a row, `[R]`, before the division by [`Self::divisor`].
    fn token_weights(&self, lens: &[usize]) -> Vec<f32> {
        let mean_len = lens.iter().sum::<usize>() as f64 / lens.len().max(1) as f64;
        let of = |len: &usize| match self.config.aggregation {
            Aggregation::Grpo => 1.0 / (*len).max(1) as f64,
            Aggregation::Bnpo => 1.0,
            Aggregation::Dapo => 1.0 / mean_len.max(1.0),
            Aggregation::DrGrpo => 1.0 / self.config.constant_length as f64,
        };
        lens.iter().map(|len| of(len) as f32).collect()
    }

    /// What the weighted sum over tokens is divided by.
    fn divisor(&self, totals: Totals) -> f64 {
        match self.config.aggregation {
            Aggregation::Bnpo => totals.tokens as f64,
            _ => totals.rows as f64,
        }
    }
}

impl Algorithm for Grpo {
    fn requirements(&self) -> Requirements {
        let c = &self.config;
        Requirements {
            reference: c.beta > 0.0,
            epochs: c.updates.epochs,
            minibatches: c.updates.minibatches,
            at_sampling_temperature: true,
            max_samples: c.samples,
            ..Requirements::default()
        }
    }

    fn prepare(&mut self, mut exp: Experience) -> Result<(Experience, Metrics)> {
        let mut tokens = vec![("logp_old", &exp.logp_old[..])];
        if self.requirements().reference {
            tokens.push(("logp_ref", &exp.logp_ref[..]));
        }
        exp.require(&tokens, &[])?;
        let reward = self.config.reward();
        let rewards = reward.of(&exp)?;
        let groups = groups(&exp.prompt_key);
        let advantages = self.advantages(&rewards, &groups);
        let mut metrics = reward.metrics(&exp, &rewards);
        metrics.extend(group_metrics(&rewards, &groups));
        metrics.extend(advantage_metrics(&advantages));
        let per_token = |(a, len): (&f64, &usize)| std::iter::repeat_n(*a as f32, *len);
        let rows = advantages.iter().zip(&exp.lens);
        exp.advantages = rows.flat_map(per_token).collect();
        exp.weight = self.token_weights(&exp.lens);
        Ok((exp, metrics))
    }

    fn policy_loss(&self, now: &Scores, exp: &Experience, totals: Totals) -> CResult<Loss> {
        if exp.n_tokens() == 0 {
            return Loss::zero(&now.logp);
        }
        let c = &self.config;
        let high = if c.clip_high > 0.0 {
            c.clip_high
        } else {
            c.clip
        };
        let n_tokens = totals.tokens as f64;
        let log_ratio = (&now.logp - column(&exp.logp_old, &now.logp)?)?; // [M]
        let bounds = 1.0 - c.clip..1.0 + high;
        let Surrogate { loss, mut metrics } =
            surrogate(&log_ratio, &exp.advantages, bounds, n_tokens)?;
        let per_token = |(w, len): (&f32, &usize)| std::iter::repeat_n(*w, *len);
        let rows = exp.weight.iter().zip(&exp.lens);
        let weight: Vec<f32> = rows.flat_map(per_token).collect();
        let weight = column(&weight, &now.logp)?; // [M]
        let sum = |terms: &Tensor| (terms * &weight)?.sum_all()? / self.divisor(totals);
        let mut total = sum(&loss)?;
        metrics.extend(policy_metrics(&total, now, totals)?);
        if c.beta > 0.0 {
            let k3 = k3(&now.logp, &exp.logp_ref)?;
            let kl = (sum(&k3)? * c.beta)?;
            metrics.insert("loss/kl".into(), host(&kl)?[0]);
            metrics.insert("grpo/kl".into(), host(&k3.sum_all()?)?[0] / n_tokens);
            total = (total + kl)?;
        }
        Ok(Loss {
            loss: total,
            metrics,
        })
    }
}

/// `e^x − 1 − x`, x = logp_ref − logp, of each token, with graph. `[M]` nats
fn k3(logp: &Tensor, logp_ref: &[f32]) -> CResult<Tensor> {
    let x = (column(logp_ref, logp)? - logp)?;
    (x.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)?.exp()? - &x)? - 1.0
}
