//! Multiplication by a constant mask. Candle's own product would also compute the gradient of the
//! mask and keep it until the end of backward.

use crate::cpu::{self, Data, fused};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

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
