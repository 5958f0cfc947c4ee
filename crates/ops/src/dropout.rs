//! Dropout, and multiplication by a constant mask on the CPU. Candle's own product would also compute the
//! gradient of the mask and keep it until the end of backward.

use crate::cpu::{self, Data, fused};
use crate::cuda;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Zeroes each element of `x` with probability `p` and multiplies the others by 1 / (1 - p). Gradient to `x`.
///
/// The random stream is (`seed`, `module`): ChaCha8 on the CPU, where the mask is kept for the gradient;
/// Philox4x32-10 on a GPU, where it is drawn again. The two draw different masks.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// let x = Tensor::ones((2, 50), DType::F32, &Device::Cpu)?;
/// let y = ops::dropout(&x, 0.5, 7, 0)?.flatten_all()?.to_vec1::<f32>()?;
/// assert!(y.iter().all(|y| *y == 0.0 || *y == 2.0));
/// # candle_core::Result::Ok(())
/// ```
pub fn dropout(x: &Tensor, p: f64, seed: u64, module: u32) -> Result<Tensor> {
    if cuda::supports(&[x]) {
        return cuda::dropout(x, p, seed, module);
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(module.into());
    let scale = (1.0 / (1.0 - p)) as f32;
    let threshold = (p * 2f64.powi(32)) as u32;
    let mask: Vec<f32> = (0..x.elem_count())
        .map(|_| match rng.random::<u32>() < threshold {
            true => 0.0,
            false => scale,
        })
        .collect();
    masked(x, mask)
}

/// `x` times constants, one per element in row-major order. Gradient to `x` only.
pub fn masked(x: &Tensor, mask: Vec<f32>) -> Result<Tensor> {
    if !fused(&[x]) {
        return x * Tensor::from_vec(mask, x.shape(), x.device())?.to_dtype(x.dtype())?;
    }
    if x.elem_count() != mask.len() {
        bail!(
            "masked: x is {:?} and the mask has {}",
            x.dims(),
            mask.len()
        )
    }
    x.contiguous()?.apply_op1(Masked { mask })
}

struct Masked {
    mask: Vec<f32>,
}

impl Masked {
    fn times(&self, x: &[f32]) -> Vec<f32> {
        x.iter().zip(&self.mask).map(|(x, m)| x * m).collect()
    }
}

impl CustomOp1 for Masked {
    fn name(&self) -> &'static str {
        "masked"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = self.times(cpu::slice(x, layout)?);
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let dx = self.times(&Data::of(&grad)?);
        cpu::tensor(dx, grad.shape().clone()).map(Some)
    }
}
