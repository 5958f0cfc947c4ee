//! Minimum risk training over one prompt's samples (Shen et al. 2016; ESRL Eq. 4 and 5).

use crate::columns::column;
use candle_core::{D, Result, Tensor};

/// `−Σ_i Q_i w_i` with `Q = softmax(z)`: a scalar, to be minimised. `z` `[k]` is α·log p(y_i|x),
/// with graph; `weight` `[k]` is the reward. A baseline subtracted from it cancels, since Σ Q = 1.
///
/// Gradient: ∂/∂z_i = −Q_i (w_i − Σ_j Q_j w_j). It is 0 for identical samples of equal reward, and
/// for k = 1.
pub fn loss(z: &Tensor, weight: &Tensor) -> Result<Tensor> {
    (sharpened(z)? * weight)?.sum_all()?.neg()
}

/// `Q = softmax(z)`, `[k]`, with graph.
pub(crate) fn sharpened(z: &Tensor) -> Result<Tensor> {
    let top = z.max_keepdim(D::Minus1)?.detach();
    let e = z.broadcast_sub(&top)?.exp()?;
    e.broadcast_div(&e.sum_keepdim(D::Minus1)?)
}

/// α log p(y_i|x) as if all samples had their mean length: α times log p per token times that
/// length. `[k]`, with graph.
///
/// The correction is a constant, computed from the log-probs before the update, `logp_old_seq`
/// `[k]`: ∂z_i/∂log p(y_i) stays α, and only the values of Q change.
pub fn length_normalised(
    logp_seq: &Tensor,
    alpha: f64,
    lens: &[usize],
    logp_old_seq: &[f64],
) -> Result<Tensor> {
    let mean_len = lens.iter().sum::<usize>() as f64 / lens.len() as f64;
    let offset =
        |(len, logp): (&usize, &f64)| (alpha * logp * (mean_len / *len as f64 - 1.0)) as f32;
    let offsets: Vec<f32> = lens.iter().zip(logp_old_seq).map(offset).collect();
    (logp_seq * alpha)? + column(&offsets, logp_seq)?
}
