//! Truncated importance sampling, for rollouts sampled with narrower weights than those trained.
//!
//! Tokens sampled from μ, the policy with narrow weights, are reweighted as if the policy π had
//! sampled them. Source: Yao et al. 2025, "Your Efficient RL Framework Secretly Brings You
//! Off-Policy RL Training"; TRL's `vllm_importance_sampling_cap`.

use crate::experience::Experience;
use crate::metrics::Metrics;
use candle_core::{Result, Tensor};

/// `min(π/μ, cap)` of each token, `[M]`, with π/μ = `exp(logp_old − logp_sampled)`; 1 in rows that
/// were not sampled. Also the metrics of the step.
pub fn weights(exp: &Experience, cap: f64) -> (Vec<f32>, Metrics) {
    let mut weights = vec![1.0; exp.n_tokens()];
    let (mut n, mut sum, mut truncated) = (0usize, 0.0, 0usize);
    for (range, sampled) in exp.layout().ranges().zip(&exp.sampled) {
        for at in range.filter(|_| *sampled) {
            let ratio = f64::from(exp.logp_old[at] - exp.logp_sampled[at]).exp();
            (n, sum) = (n + 1, sum + ratio);
            truncated += usize::from(ratio > cap);
            // NaN stays NaN
            weights[at] = if ratio > cap { cap } else { ratio } as f32;
        }
    }
    let n = n.max(1) as f64;
    let metrics = Metrics::from([
        ("sampling/importance_ratio".into(), sum / n),
        ("sampling/truncated".into(), truncated as f64 / n),
    ]);
    (weights, metrics)
}

/// `logp` `[M]` unchanged in value, with its gradient multiplied by `weights` `[M]`, and with it
/// the gradient of any loss over `logp`.
pub fn weigh_gradient(logp: &Tensor, weights: &[f32]) -> Result<Tensor> {
    let weights = Tensor::new(weights, logp.device())?.to_dtype(logp.dtype())?;
    let constant = logp.detach();
    &constant + ((logp - &constant)? * weights)?
}
