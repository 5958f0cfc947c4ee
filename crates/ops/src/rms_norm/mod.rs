//! Root-mean-square norm. Source: Zhang & Sennrich 2019, as LLaMA uses it.

pub(crate) mod cpu;
mod cuda;
pub mod reference;

use crate::cpu::fused;
use candle_core::{Result, Tensor, bail};

/// Root-mean-square norm over the last dimension, `x / sqrt(mean(x²) + eps) * weight`. `x` [N, d],
/// `weight` `[d]`. Gradient to both. On a GPU the weight is f32 whatever the dtype of `x`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[[3f32, -4.]], &Device::Cpu)?;
/// let weight = Tensor::new(&[1f32, 2.], &Device::Cpu)?;
/// let y = ops::rms_norm(&x, &weight, 0.0)?.to_vec2::<f32>()?;
/// // sqrt((9 + 16) / 2) = 3.5355
/// assert!((y[0][0] - 0.84853).abs() < 1e-5 && (y[0][1] + 2.26274).abs() < 1e-5);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    check(x, weight)?;
    if crate::cuda::supports(&[x]) {
        return cuda::rms_norm(x, weight, eps);
    }
    if fused(&[x, weight]) {
        cpu::rms_norm(x, weight, eps)
    } else {
        reference::rms_norm(x, weight, eps)
    }
}

fn check(x: &Tensor, weight: &Tensor) -> Result<()> {
    let width = weight.dims1()?;
    if x.dims2()?.1 != width {
        bail!(
            "rms_norm: x is {:?} but the weight has {width} elements",
            x.dims()
        )
    }
    Ok(())
}
