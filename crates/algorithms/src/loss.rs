//! A loss over one micro-batch: its inputs, its value, and the metrics that every loss logs.

use crate::columns::host;
use crate::experience::{Experience, groups};
use crate::metrics::Metrics;
use candle_core::{Result, Tensor};

/// The current policy's scores of the response tokens of a micro-batch, with graph.
///
/// Flat over the same layout as the experience; f32 (f64 in tests).
pub struct Scores {
    /// `[M]` natural log.
    pub logp: Tensor,
    /// `[M]` entropy of the next-token distribution, nats.
    pub entropy: Tensor,
}

/// The loss is a sum over the micro-batch, divided by the [`Totals`] of the whole optimiser step,
/// so that the losses and metrics of micro-batches add up.
pub struct Loss {
    /// Scalar, with graph.
    pub loss: Tensor,
    /// Metrics of the micro-batch, additive over micro-batches.
    pub metrics: Metrics,
}

impl Loss {
    /// The loss of a micro-batch without tokens: 0, on the device and in the dtype of `like`.
    pub fn zero(like: &Tensor) -> Result<Self> {
        Ok(Self {
            loss: Tensor::zeros((), like.dtype(), like.device())?,
            metrics: Metrics::new(),
        })
    }
}

/// Counts over the whole optimiser step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Totals {
    pub tokens: usize,
    pub rows: usize,
    pub prompts: usize,
    /// Macro actions: the tokens flagged in `macro_start`.
    pub macros: usize,
}

impl Totals {
    /// Counts of all rows of `exp`.
    pub fn of(exp: &Experience) -> Self {
        Self {
            tokens: exp.lens.iter().sum(),
            rows: exp.n_rows(),
            prompts: groups(&exp.prompt_key).len(),
            macros: exp.macro_start.iter().filter(|start| **start).count(),
        }
    }
}

/// `loss/policy`, and the entropy averaged over the tokens of the optimiser step.
pub(crate) fn policy_metrics(loss: &Tensor, now: &Scores, totals: Totals) -> Result<Metrics> {
    let entropy: f64 = host(&now.entropy)?.iter().sum();
    Ok(Metrics::from([
        ("loss/policy".into(), host(loss)?[0]),
        ("policy/entropy".into(), entropy / totals.tokens as f64),
    ]))
}

/// [`policy_metrics`] and the unweighted negative log-likelihood, for methods that imitate.
pub(crate) fn imitation_metrics(loss: &Tensor, now: &Scores, totals: Totals) -> Result<Metrics> {
    let nll: f64 = host(&now.logp)?.iter().map(|l| -l).sum();
    let mut metrics = policy_metrics(loss, now, totals)?;
    metrics.insert("loss/nll".into(), nll / totals.tokens as f64);
    Ok(metrics)
}
