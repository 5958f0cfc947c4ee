//! What dynamic sampling planned and saved in a step, and the definitions of ESRL's metrics.

use crate::estimators::mean;
use crate::experience::Experience;
use crate::metrics::{Definitions, Metrics};

pub(super) const METRICS: Definitions = &[
    (
        "loss/mrt",
        "the part of loss/policy from prompts with several samples (Eq. 5)",
    ),
    (
        "loss/reinforce",
        "the part of loss/policy from prompts with one sample (Eq. 3)",
    ),
    (
        "esrl/samples_drawn",
        "responses drawn to learn from (greedy estimates not counted)",
    ),
    (
        "esrl/samples_full",
        "responses that k_max per prompt would have drawn",
    ),
    (
        "esrl/samples_saved_frac",
        "1 - (samples_drawn + greedy_drawn) / samples_full",
    ),
    ("esrl/tokens_drawn", "response tokens of samples_drawn"),
    (
        "esrl/greedy_drawn",
        "greedy responses drawn to estimate the capability of prompts met for the first time",
    ),
    ("esrl/greedy_tokens", "response tokens of greedy_drawn"),
    (
        "esrl/samples_dropped",
        "responses the released mode eliminated after drawing them",
    ),
    (
        "esrl/confidence_mean",
        "released mode: mean over the responses kept of 1 + mean_t exp(p) p, p the largest probability",
    ),
    (
        "esrl/capability_mean",
        "mean over the batch's prompts of the capability that planned this step, before normalisation",
    ),
    ("esrl/capability_min", "smallest of those"),
    ("esrl/capability_max", "largest of those"),
    ("esrl/k_mean", "mean number of samples per prompt (Eq. 8)"),
    (
        "esrl/tau_mean",
        "mean temperature of the prompts sampled (Eq. 9)",
    ),
    (
        "esrl/baseline",
        "mean of the FIFO queue of rewards, this step's included",
    ),
    (
        "esrl/reward_scale",
        "what rewards less baseline are divided by: 1, or the queue's standard deviation",
    ),
    ("esrl/mrt_prompts", "prompts with several samples"),
    ("esrl/reinforce_prompts", "prompts with one sample"),
    ("esrl/skipped_prompts", "prompts given no sample this step"),
];

/// What the current step planned and spent. Not part of the state: a step is never resumed midway.
#[derive(Default)]
pub(crate) struct Ledger {
    pub capability: Vec<f64>,
    pub k: Vec<usize>,
    pub tau: Vec<f64>,
    pub greedy: usize,
    pub greedy_tokens: usize,
}

impl Ledger {
    /// Metrics of the step. `drawn`: its samples. `k_max`: the most per prompt.
    pub fn metrics(&self, drawn: &Experience, k_max: usize) -> Metrics {
        let Self {
            capability,
            k,
            tau,
            greedy,
            greedy_tokens,
        } = self;
        let k: Vec<f64> = k.iter().map(|k| *k as f64).collect();
        let full = (k.len() * k_max) as f64;
        let (n_drawn, greedy) = (drawn.n_rows() as f64, *greedy as f64);
        let saved = if full > 0.0 {
            1.0 - (n_drawn + greedy) / full
        } else {
            0.0
        };
        let n_with = |few: bool| {
            k.iter()
                .filter(|k| **k > 0.0 && (**k == 1.0) == few)
                .count() as f64
        };
        let least = |values: &[f64]| values.iter().copied().reduce(f64::min).unwrap_or(0.0);
        let most = |values: &[f64]| values.iter().copied().reduce(f64::max).unwrap_or(0.0);
        Metrics::from([
            ("esrl/samples_drawn".into(), n_drawn),
            ("esrl/samples_full".into(), full),
            ("esrl/samples_saved_frac".into(), saved),
            ("esrl/tokens_drawn".into(), drawn.n_tokens() as f64),
            ("esrl/greedy_drawn".into(), greedy),
            ("esrl/greedy_tokens".into(), *greedy_tokens as f64),
            ("esrl/capability_mean".into(), mean(capability)),
            ("esrl/capability_min".into(), least(capability)),
            ("esrl/capability_max".into(), most(capability)),
            ("esrl/k_mean".into(), mean(&k)),
            ("esrl/tau_mean".into(), mean(tau)),
            ("esrl/mrt_prompts".into(), n_with(false)),
            ("esrl/reinforce_prompts".into(), n_with(true)),
            (
                "esrl/skipped_prompts".into(),
                k.iter().filter(|k| **k == 0.0).count() as f64,
            ),
        ])
    }
}
