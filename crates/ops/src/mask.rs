//! Multiplication by constants, on the CPU. Candle's own would compute the gradient of the constants, too, and keep it until the end of
//! backward.

use crate::cpu::{self, Data};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

pub(crate) fn masked(x: &Tensor, mask: Vec<f32>) -> Result<Tensor> {
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
