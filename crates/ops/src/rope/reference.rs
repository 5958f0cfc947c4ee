//! Rotary embedding as a composition of candle's operations: the reference of the tests, and what
//! devices and dtypes without a fused form run.

use candle_core::{Result, Tensor};

/// [`crate::rope`] on any device.
pub fn rope(x: &Tensor, cos: &Tensor, sin: &Tensor, positions: &[u32]) -> Result<Tensor> {
    let (n, width) = x.dims2()?;
    let half = cos.dim(1)?;
    let heads = width / (2 * half);
    let at = Tensor::new(positions, x.device())?;
    let cos = cos
        .index_select(&at, 0)?
        .reshape((n, 1, half))?
        .to_dtype(x.dtype())?;
    let sin = sin
        .index_select(&at, 0)?
        .reshape((n, 1, half))?
        .to_dtype(x.dtype())?;
    let x = x.reshape((n, heads, 2 * half))?;
    let (x1, x2) = (x.narrow(2, 0, half)?, x.narrow(2, half, half)?);
    let y1 = (x1.broadcast_mul(&cos)? - x2.broadcast_mul(&sin)?)?;
    let y2 = (x2.broadcast_mul(&cos)? + x1.broadcast_mul(&sin)?)?;
    Tensor::cat(&[y1, y2], 2)?.reshape((n, width))
}
