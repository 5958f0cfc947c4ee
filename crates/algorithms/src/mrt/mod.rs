//! Minimum risk training: the expected risk under the policy, renormalised over a few samples.
//!
//! Shen et al. 2016 (arXiv 1512.02433). Choices are numbered (M1, M2, …) in docs/methods/mrt.md.

mod config;
mod loss;

pub use config::Config;
pub use loss::{length_normalised, loss};

use crate::algorithm::{Algorithm, SamplingPlan};
use crate::columns::{column, host, row_sums};
use crate::error::Result;
use crate::estimators::mean;
use crate::experience::{Experience, groups};
use crate::loss::{Loss, Scores, Totals, policy_metrics};
use crate::method::{Method, Name};
use crate::metrics::{Definitions, Metrics};
use crate::requirements::Requirements;
use candle_core::{Result as CResult, Tensor};
use loss::sharpened;

impl Method for Mrt {
    type Config = Config;
    const NAMES: &'static [Name] = &[Name {
        name: "mrt",
        about: "minimum risk over a few samples of each prompt",
        paper: "Shen et al. 2016, arXiv 1512.02433",
    }];
    const PAGE: &'static str = "mrt";
    const METRICS: Definitions = &[
        (
            "mrt/rows_dropped",
            "responses left out because an equal one to the same prompt is there already",
        ),
        (
            "mrt/prompts_alone",
            "prompts left with one response, which gives no gradient",
        ),
        (
            "mrt/q_max",
            "mean over prompts of the largest Q, mean over the step's updates; 1/k: all samples count alike",
        ),
    ];

    fn build(_name: &str, config: Config, _seed: u64) -> Box<dyn Algorithm> {
        Box::new(Self {
            config,
            planned_rows: 0,
        })
    }
}

/// Minimum risk training.
pub struct Mrt {
    config: Config,
    /// Rows of the current step before duplicates are dropped. Not part of the state: a step is
    /// never resumed midway.
    planned_rows: usize,
}

impl Mrt {
    /// The exponents of Q over one prompt's samples, `[k]`.
    fn exponents(&self, logp_seq: &Tensor, lens: &[usize], logp_old: &[f64]) -> CResult<Tensor> {
        match self.config.length_normalise {
            true => length_normalised(logp_seq, self.config.alpha, lens, logp_old),
            false => logp_seq * self.config.alpha,
        }
    }
}

impl Algorithm for Mrt {
    fn requirements(&self) -> Requirements {
        let c = &self.config;
        Requirements {
            reference: c.reward().needs_reference(),
            whole_groups: true,
            minibatches: c.minibatches,
            at_sampling_temperature: true,
            reference_answer: c.reference_in_samples,
            max_samples: c.samples,
            ..Requirements::default()
        }
    }

    fn plan(&mut self, prompts: &[u64], _step: u64) -> Result<Vec<SamplingPlan>> {
        let per_prompt = self.config.samples + usize::from(self.config.reference_in_samples);
        self.planned_rows = prompts.len() * per_prompt;
        Ok(SamplingPlan::each(prompts, self.requirements().max_samples))
    }

    fn keep(&self, exp: &Experience) -> Vec<bool> {
        let mut keep = vec![true; exp.n_rows()];
        if self.config.deduplicate {
            for group in groups(&exp.prompt_key) {
                let keys = &exp.response_key[group.clone()];
                for (at, key) in keys.iter().enumerate() {
                    keep[group.start + at] = !keys[..at].contains(key);
                }
            }
        }
        keep
    }

    fn prepare(&mut self, mut exp: Experience) -> Result<(Experience, Metrics)> {
        let c = &self.config;
        let reward = c.reward();
        let rewards = reward.of(&exp)?;
        if c.length_normalise {
            exp.require(&[("logp_old", &exp.logp_old)], &[])?;
        }
        let mut metrics = match c.reference_in_samples {
            true => {
                let drawn: Vec<usize> = (0..exp.n_rows()).filter(|r| exp.sampled[*r]).collect();
                let of_drawn: Vec<f64> = drawn.iter().map(|r| rewards[*r]).collect();
                reward.metrics(&exp.select(&drawn), &of_drawn)
            }
            false => reward.metrics(&exp, &rewards),
        };
        let groups = groups(&exp.prompt_key);
        let n_alone = groups.iter().filter(|g| g.len() == 1).count();
        let n_dropped = self.planned_rows.saturating_sub(exp.n_rows());
        metrics.insert("mrt/prompts_alone".into(), n_alone as f64);
        metrics.insert("mrt/rows_dropped".into(), n_dropped as f64);
        // Σ Q = 1: subtracting the mean of the prompt's rewards shifts the loss, not the gradient.
        let centred = groups.into_iter().flat_map(|group| {
            let b = mean(&rewards[group.clone()]);
            rewards[group].iter().map(move |r| (r - b) as f32)
        });
        exp.weight = centred.collect();
        Ok((exp, metrics))
    }

    fn policy_loss(&self, now: &Scores, exp: &Experience, totals: Totals) -> CResult<Loss> {
        // A row without tokens has no probability to move, and must not take a share of Q.
        let exp = exp.with_tokens();
        if exp.n_rows() == 0 {
            return Loss::zero(&now.logp);
        }
        let c = &self.config;
        let scale = if c.scale_by_alpha { c.alpha } else { 1.0 };
        let n = totals.prompts as f64;
        let logp_seq = row_sums(&now.logp, &exp.layout())?; // [R]
        let weight = column(&exp.weight, &now.logp)?; // [R]
        let logp_old = match c.length_normalise {
            true => exp.row_sums(&exp.logp_old),
            false => vec![0.0; exp.n_rows()],
        };
        let (mut losses, mut q_max) = (Vec::new(), 0.0);
        for group in groups(&exp.prompt_key) {
            let (start, k) = (group.start, group.len());
            let logp = logp_seq.narrow(0, start, k)?;
            let z = self.exponents(&logp, &exp.lens[group.clone()], &logp_old[group])?;
            losses.push(loss(&z, &weight.narrow(0, start, k)?)?);
            q_max += host(&sharpened(&z.detach())?)?
                .into_iter()
                .fold(0.0, f64::max);
        }
        let loss = (Tensor::stack(&losses, 0)?.sum_all()? / (n * scale))?;
        let mut metrics = policy_metrics(&loss, now, totals)?;
        metrics.insert("mrt/q_max".into(), q_max / n);
        Ok(Loss { loss, metrics })
    }
}
