//! The REINFORCE loss over whole responses (Williams 1992; ESRL Eq. 3).

use candle_core::{Result, Tensor};

/// `−Σ_i w_i log p(y_i|x)`: a scalar, to be minimised. `logp_seq` `[k]` with graph; `weight` `[k]`
/// is the reward minus a baseline that does not depend on the sample.
pub fn loss(logp_seq: &Tensor, weight: &Tensor) -> Result<Tensor> {
    (logp_seq * weight)?.sum_all()?.neg()
}
