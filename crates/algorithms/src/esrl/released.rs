//! ESRL as its authors' code runs it (wangclnlp/DeepSpeed-Chat-Extension).
//!
//! One sample per prompt. The most confident `⌈β n⌉` of a batch are dropped before they are scored,
//! and PPO trains on the rest.

use super::config::ReleasedConfig;
use crate::algorithm::{Algorithm, SamplingPlan};
use crate::error::Result;
use crate::estimators::capability::released_confidence;
use crate::estimators::mean;
use crate::experience::Experience;
use crate::loss::{Loss, Scores, Totals};
use crate::metrics::Metrics;
use crate::ppo::Ppo;
use crate::requirements::Requirements;
use candle_core::{Result as CResult, Tensor};
use serde_json::Value;

pub(super) struct Released {
    beta: f64,
    ppo: Ppo,
    /// Responses sampled in the current step.
    n: usize,
}

impl Released {
    pub fn new(config: ReleasedConfig) -> Self {
        Self {
            beta: config.beta,
            ppo: Ppo::new(config.ppo),
            n: 0,
        }
    }
}

/// The confidence of each row, `[R]`.
fn confidences(exp: &Experience) -> Vec<f64> {
    let of_row = |t| released_confidence(&exp.max_prob[t]);
    exp.layout().ranges().map(of_row).collect()
}

impl Algorithm for Released {
    fn requirements(&self) -> Requirements {
        self.ppo.requirements()
    }

    fn plan(&mut self, prompts: &[u64], step: u64) -> Result<Vec<SamplingPlan>> {
        let plan = self.ppo.plan(prompts, step)?;
        self.n = plan.iter().map(|prompt| prompt.n).sum();
        Ok(plan)
    }

    /// Drops the `⌈β n⌉` most confident rows, the earlier of equal ones first. One row always
    /// stays.
    fn keep(&self, exp: &Experience) -> Vec<bool> {
        let n = exp.n_rows();
        let confidence = confidences(exp);
        let n_dropped = ((self.beta * n as f64 - 1e-9).ceil() as usize).min(n.saturating_sub(1));
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|a, b| confidence[*b].total_cmp(&confidence[*a]));
        let mut keep = vec![true; n];
        order[..n_dropped].iter().for_each(|row| keep[*row] = false);
        keep
    }

    fn prepare(&mut self, exp: Experience) -> Result<(Experience, Metrics)> {
        let confidence = confidences(&exp);
        let n = self.n as f64;
        let dropped = n - exp.n_rows() as f64;
        let (exp, mut metrics) = self.ppo.prepare(exp)?;
        metrics.extend([
            ("esrl/samples_drawn".into(), n),
            ("esrl/samples_full".into(), n),
            ("esrl/samples_saved_frac".into(), 0.0),
            ("esrl/samples_dropped".into(), dropped),
            ("esrl/confidence_mean".into(), mean(&confidence)),
        ]);
        Ok((exp, metrics))
    }

    fn policy_loss(&self, now: &Scores, exp: &Experience, totals: Totals) -> CResult<Loss> {
        self.ppo.policy_loss(now, exp, totals)
    }

    fn value_loss(&self, values: &Tensor, exp: &Experience, totals: Totals) -> CResult<Loss> {
        self.ppo.value_loss(values, exp, totals)
    }

    fn state(&self) -> Value {
        self.ppo.state()
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        self.ppo.restore(state)
    }
}
