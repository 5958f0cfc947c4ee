//! Rotary position embedding (Su et al. 2021) in the half-rotation layout of Hugging Face's LLaMA.

pub(crate) mod cpu;
mod cuda;
pub mod reference;
mod rotation;

pub use rotation::Rotation;

use crate::cpu::fused;
use candle_core::{Result, Tensor, bail};

/// Rotates each head of `x` [N, H*D] to the position of its token. `cos` and `sin` [max_pos, D/2]
/// are f32 and get no gradient; `positions` has one entry per token. Gradient to `x`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[[1f32, 0.]], &Device::Cpu)?; // one head of width 2
/// let table = |values: [f32; 2]| Tensor::from_slice(&values, (2, 1), &Device::Cpu);
/// let (cos, sin) = (table([1., 0.])?, table([0., 1.])?);
/// // position 1 of this table is a quarter turn
/// assert_eq!(ops::rope(&x, &cos, &sin, &[1])?.to_vec2::<f32>()?, [[0., 1.]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn rope(x: &Tensor, cos: &Tensor, sin: &Tensor, positions: &[u32]) -> Result<Tensor> {
    let tables = (cos, sin);
    let (n, width) = x.dims2()?;
    let half = Rotation { tables, positions }.check(n)?;
    if width % (2 * half) != 0 {
        bail!(
            "rope: a width of {width} is not a multiple of the head width {}",
            2 * half
        )
    }
    if crate::cuda::supports(&[x]) {
        return cuda::rope(x, cos, sin, positions);
    }
    if fused(&[x, cos, sin]) {
        cpu::rope(x, cos, sin, positions)
    } else {
        reference::rope(x, cos, sin, positions)
    }
}
