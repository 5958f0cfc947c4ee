//! Rotary position embedding (Su et al. 2021) in the half-rotation layout of Hugging Face's LLaMA.

pub(crate) mod cpu;
mod cuda;
pub mod reference;
mod rotation;

pub use rotation::Rotation;

use crate::cpu::fused;
use candle_core::{Result, Tensor};

/// Rotates each head of `x` [N, H*D] to the position of its token. The tables get no gradient.
/// Gradient to `x`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[[1f32, 0., 7.]], &Device::Cpu)?; // one head of width 3
/// let table = |values: [f32; 2]| Tensor::from_slice(&values, (2, 1), &Device::Cpu);
/// let (cos, sin) = (table([1., 0.])?, table([0., 1.])?);
/// let rotation = ops::Rotation {
///     tables: (&cos, &sin),
///     positions: &[1],
///     head_dim: 3,
/// };
/// // position 1 of this table is a quarter turn of the first two numbers
/// assert_eq!(ops::rope(&x, rotation)?.to_vec2::<f32>()?, [[0., 1., 7.]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn rope(x: &Tensor, rotation: Rotation) -> Result<Tensor> {
    let (n, width) = x.dims2()?;
    rotation.check(n, &[width])?;
    if crate::cuda::supports(&[x]) {
        return cuda::rope(x, rotation);
    }
    let (cos, sin) = rotation.tables;
    if fused(&[x, cos, sin]) {
        cpu::rope(x, rotation)
    } else {
        reference::rope(x, rotation)
    }
}
