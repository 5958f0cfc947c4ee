//! Linear layers as compositions of candle's operations: the reference of the tests.

use crate::Compute;
use candle_core::{Result, Tensor};

/// [`crate::frozen_linear`]. Only tests run it: candle computes the gradient of the weight, too, so
/// devices without a fused form run [`crate::frozen_linear`]'s own op over candle's product.
pub fn frozen_linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    x.matmul(&weight.detach().t()?)
}

/// [`crate::lora_linear`] on any device, around [`crate::frozen_linear`].
pub fn lora_linear(
    x: &Tensor,
    x_lora: &Tensor,
    w: &Tensor,
    a: &Tensor,
    b: &Tensor,
    scale: f64,
) -> Result<Tensor> {
    super::frozen::frozen_linear(Compute::F32, x, w)?
        + (x_lora.matmul(&a.t()?)?.matmul(&b.t()?)? * scale)?
}
