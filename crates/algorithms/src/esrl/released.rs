//! ESRL as its authors' code does it (wangclnlp/DeepSpeed-Chat-Extension): one sample per prompt, the most confident
//! `⌈β n⌉` of a batch are dropped before they are scored, and PPO trains on the rest.

use super::config::ReleasedConfig;
use crate::estimators::capability::released_confidence;
use crate::estimators::mean;
use crate::metrics::Metrics;
use crate::ppo::Ppo;
use crate::{Algorithm, Experience, Loss, Needs, Result, SamplingPlan, Scores, Totals};
use candle_core::Result as CResult;
use serde_json::Value;

pub(crate) struct Released {
    beta: f64,
    ppo: Ppo,
    /// Responses drawn in the current step.
    n: usize,
}

impl Released {
    pub fn new(given: &Value) -> Result<Self> {
        let config = ReleasedConfig::resolve(given)?;
        Ok(Self {
            beta: config.beta,
            ppo: Ppo::new(config.ppo, "ppo.")?,
            n: 0,
        })
    }
}

impl Algorithm for Released {
    fn needs(&self) -> Needs {
        self.ppo.needs()
    }

    fn plan(&mut self, prompts: &[u64], step: u64) -> Result<Vec<SamplingPlan>> {
        let plan = self.ppo.plan(prompts, step)?;
        self.n = plan.iter().map(|prompt| prompt.n).sum();
        Ok(plan)
    }

    /// Drops the `⌈β n⌉` most confident rows, the earlier ones where equal; one row always stays.
    fn keep(&self, exp: &Experience) -> Vec<bool> {
        let n = exp.n_rows();
        let confidence: Vec<f64> = exp
            .layout()
            .ranges()
            .map(|t| released_confidence(&exp.max_prob[t]))
            .collect();
        let n_dropped = ((self.beta * n as f64 - 1e-9).ceil() as usize).min(n.saturating_sub(1));
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|a, b| confidence[*b].total_cmp(&confidence[*a]));
        let mut keep = vec![true; n];
        order[..n_dropped].iter().for_each(|row| keep[*row] = false);
        keep
    }

    fn prepare(&mut self, exp: Experience) -> Result<(Experience, Metrics)> {
        let confidence: Vec<f64> = exp
            .layout()
            .ranges()
            .map(|t| released_confidence(&exp.max_prob[t]))
            .collect();
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

    fn loss(&self, now: &Scores, exp: &Experience, totals: Totals) -> CResult<Loss> {
        self.ppo.loss(now, exp, totals)
    }

    fn state(&self) -> Value {
        self.ppo.state()
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        self.ppo.restore(state)
    }
}
