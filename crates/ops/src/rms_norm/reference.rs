//! RMS norm as a composition of candle's operations: the reference of the tests, and what devices
//! and dtypes without a fused form run.

use candle_core::{D, DType, Result, Tensor};

/// [`crate::rms_norm`] on any device.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let dtype = x.dtype();
    let internal = if matches!(dtype, DType::F16 | DType::BF16) {
        DType::F32
    } else {
        dtype
    };
    let x = x.to_dtype(internal)?;
    let mean_sq = x.sqr()?.mean_keepdim(D::Minus1)?;
    x.broadcast_div(&(mean_sq + eps)?.sqrt()?)?
        .to_dtype(dtype)?
        .broadcast_mul(weight)
}
