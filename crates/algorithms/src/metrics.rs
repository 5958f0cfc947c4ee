//! How the metrics that several methods log are computed.
//!
//! Their definitions are in `shared_metrics.rs`; a method defines its own in
//! [`crate::Method::METRICS`]. Names are those of the field (TRL) where it has one.

use crate::estimators::{kl::Estimator, mean, variance};
use crate::experience::Experience;
use std::collections::BTreeMap;
use std::ops::Range;

/// Names of metrics and their definitions, reduction included.
pub type Definitions = &'static [(&'static str, &'static str)];

/// Values of metrics by name.
pub type Metrics = BTreeMap<String, f64>;

/// Metrics of a step's rows that hold for every method: scores and lengths; for rollouts also the
/// entropy, and the KL where a reference was read.
pub fn rollout_metrics(exp: &Experience) -> Metrics {
    let wide = |column: &[f32]| column.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
    let lens: Vec<f64> = exp.lens.iter().map(|l| *l as f64).collect();
    let finished: Vec<f64> = exp
        .finished
        .iter()
        .map(|f| f64::from(u8::from(*f)))
        .collect();
    let scores = wide(&exp.score);
    let mut metrics = Metrics::from([
        ("rollout/length_mean".into(), mean(&lens)),
        (
            "rollout/length_min".into(),
            lens.iter().copied().reduce(f64::min).unwrap_or(0.0),
        ),
        (
            "rollout/length_max".into(),
            lens.iter().copied().reduce(f64::max).unwrap_or(0.0),
        ),
        ("rollout/eos_rate".into(), mean(&finished)),
    ]);
    if !scores.is_empty() {
        metrics.insert("objective/scores".into(), mean(&scores));
        metrics.insert("objective/scores_std".into(), variance(&scores).sqrt());
    }
    if exp.logp_sampled.is_empty() {
        return metrics; // stored rows say nothing about the policy
    }
    if !exp.entropy.is_empty() {
        metrics.insert("objective/entropy".into(), mean(&wide(&exp.entropy)));
    }
    if !exp.logp_ref.is_empty() && !exp.logp_old.is_empty() {
        let x = exp.log_ratio_to_reference();
        let per_row = |column: Vec<f32>| mean(&exp.row_sums(&column));
        let by = |e: Estimator| x.iter().map(|x| e.of(f64::from(*x)) as f32).collect();
        metrics.insert("objective/kl".into(), per_row(by(Estimator::K1)));
        metrics.insert("objective/kl_k2".into(), per_row(by(Estimator::K2)));
        metrics.insert("objective/kl_k3".into(), per_row(by(Estimator::K3)));
    }
    if !exp.kl_exact.is_empty() {
        metrics.insert(
            "objective/kl_exact".into(),
            mean(&exp.row_sums(&exp.kl_exact)),
        );
    }
    metrics
}

/// Metrics of advantages before whitening.
pub(crate) fn advantage_metrics(advantages: &[f64]) -> Metrics {
    let all = || advantages.iter().copied();
    Metrics::from([
        ("advantage/mean".into(), mean(advantages)),
        ("advantage/std".into(), variance(advantages).sqrt()),
        (
            "advantage/min".into(),
            all().reduce(f64::min).unwrap_or(0.0),
        ),
        (
            "advantage/max".into(),
            all().reduce(f64::max).unwrap_or(0.0),
        ),
    ])
}

/// The spread of the rewards of each prompt's samples.
pub(crate) fn group_metrics(rewards: &[f64], groups: &[Range<usize>]) -> Metrics {
    let std = |rows: &Range<usize>| variance(&rewards[rows.clone()]).sqrt();
    let equal = |rows: &Range<usize>| {
        let rewards = &rewards[rows.clone()];
        f64::from(u8::from(rewards.iter().all(|r| *r == rewards[0])))
    };
    let over_groups =
        |of: &dyn Fn(&Range<usize>) -> f64| mean(&groups.iter().map(of).collect::<Vec<f64>>());
    Metrics::from([
        ("group/reward_std".into(), over_groups(&std)),
        ("group/equal_frac".into(), over_groups(&equal)),
    ])
}
