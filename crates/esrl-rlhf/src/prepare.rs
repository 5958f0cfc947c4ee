//! Step 4, *prepare*: the method turns scores and columns into baselines and advantages. No
//! gradient, no model.

use crate::learner::Learner;
use crate::logp_source::LogpSource;
use crate::row::Row;
use algorithms::Metrics;
use algorithms::{Experience, importance};
use anyhow::Result;

/// Adds the clauses and the importance weights where the run has them, then asks the method.
pub(crate) fn experience(
    learner: &mut Learner,
    rows: &[Row],
    mut exp: Experience,
) -> Result<(Experience, Metrics)> {
    let mut of_clauses = Metrics::new();
    if let Some(clauses) = &mut learner.clauses {
        (exp.macro_start, of_clauses) = clauses.macro_starts(&learner.roles.encoder, rows)?;
    }
    // Rows sampled from separate weights teach the policy through truncated importance weights.
    let mut of_weights = Metrics::new();
    let own = learner.logp_source == LogpSource::PolicyForward;
    if own && learner.roles.samples_from_separate_weights() {
        let cap = learner.config.rollout.importance_cap;
        (exp.importance, of_weights) = importance::weights(&exp, cap);
    }
    let (exp, mut metrics) = learner.algorithm.prepare(exp)?;
    metrics.extend(of_weights);
    metrics.extend(of_clauses);
    Ok((exp, metrics))
}
