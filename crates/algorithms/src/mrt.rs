//! Minimum risk training over one prompt's samples (Shen et al. 2016; ESRL Eq. 4 and 5).

use candle_core::{D, Result, Tensor};

/// `−Σ_i Q_i w_i` with `Q = softmax(z)`: a scalar, to be minimised. `z` `[k]` is α·log p(y_i|x), with graph; `weight` `[k]`
/// is the reward, less a baseline or not: it cancels, since Σ Q = 1.
///
/// Gradient: ∂/∂z_i = −Q_i (w_i − Σ_j Q_j w_j). Identical samples of identical reward give none, and so does k = 1.
pub fn loss(z: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let top = z.max_keepdim(D::Minus1)?.detach();
    let e = z.broadcast_sub(&top)?.exp()?;
    let q = e.broadcast_div(&e.sum_keepdim(D::Minus1)?)?;
    (q * weight)?.sum_all()?.neg()
}
