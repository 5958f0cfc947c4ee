//! The clipped surrogate of Schulman et al. 2017 (Eq. 7), over tokens, macro actions or responses.

use crate::columns::{column, host};
use crate::metrics::Metrics;
use candle_core::{Result, Tensor};
use std::ops::Range;

/// Log-ratios are clamped to ± this before they are exponentiated.
pub(crate) const MAX_LOG_RATIO: f64 = 20.0;

/// The loss of each action, not yet summed.
pub(crate) struct Surrogate {
    /// `[N]` −min(A ρ, A clip(ρ)), with graph
    pub loss: Tensor,
    /// Sums over the N actions, divided by `n`
    pub metrics: Metrics,
}

/// The surrogate of N actions. `log_ratio` `[N]` is log π − log π_old, with graph; its exponential
/// ρ is clamped to `bounds` in the second term. `n` is the N of the whole optimiser step.
pub(crate) fn surrogate(
    log_ratio: &Tensor,
    advantages: &[f32],
    bounds: Range<f64>,
    n: f64,
) -> Result<Surrogate> {
    let advantages = column(advantages, log_ratio)?;
    let log_ratio = log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)?;
    let ratio = log_ratio.exp()?;
    let plain = (&ratio * &advantages)?.neg()?;
    let clipped = (ratio.clamp(bounds.start, bounds.end)? * &advantages)?.neg()?;
    let loss = plain.maximum(&clipped)?;
    let (plain, clipped) = (host(&plain)?, host(&clipped)?);
    let n_clipped = plain.iter().zip(&clipped).filter(|(p, c)| c > p).count();
    let (log_ratio, ratio) = (host(&log_ratio)?, host(&ratio)?);
    let mean = |terms: &mut dyn Iterator<Item = f64>| terms.sum::<f64>() / n;
    let approxkl = mean(&mut log_ratio.iter().map(|x| 0.5 * x * x));
    let ratio_var = mean(&mut ratio.iter().map(|r| (r - 1.0).powi(2)));
    let metrics = Metrics::from([
        ("policy/clipfrac".into(), n_clipped as f64 / n),
        ("policy/approxkl".into(), approxkl),
        ("policy/ratio".into(), mean(&mut ratio.iter().copied())),
        ("policy/ratio_var".into(), ratio_var),
    ]);
    Ok(Surrogate { loss, metrics })
}
