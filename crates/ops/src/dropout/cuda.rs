//! Dropout on a GPU. The mask is drawn in the kernel and drawn again for the gradient, so nothing
//! is kept.

use crate::cuda::kernel::Kernel;
use crate::cuda::op::{CudaOp, apply};
use crate::cuda::view::{OpenTensor, View, ViewMut, from_storage};
use candle_core::{Result, Shape, Storage, Tensor};

/// Random numbers: Philox4x32-10 keyed by `seed`, counted by position and `stream`.
pub(super) fn dropout(x: &Tensor, p: f64, seed: u64, stream: u32) -> Result<Tensor> {
    let op = Dropout {
        seed,
        stream,
        threshold: (p * 2f64.powi(32)) as u32,
        scale: (1.0 / (1.0 - p)) as f32,
    };
    apply(op, &[x])
}

struct Dropout {
    seed: u64,
    stream: u32,
    /// An element whose random number is below this is zeroed.
    threshold: u32,
    /// Multiplies the other elements.
    scale: f32,
}

impl Dropout {
    fn mask(&self, x: View) -> Result<Storage> {
        let n = x.shape.elem_count();
        let mut y = x.alloc(x.dtype(), n)?;
        Kernel::element_wise(format!("drop_out_{}", x.dtype().as_str()), n)
            .read(x)
            .write(ViewMut::of(&mut y))
            .u64(n)
            .u32(self.seed as u32 as usize)
            .u32((self.seed >> 32) as usize)
            .u32(self.stream as usize)
            .u32(self.threshold as usize)
            .f32(self.scale)
            .launch()?;
        Ok(y)
    }
}

impl CudaOp for Dropout {
    const NAME: &'static str = "dropout";

    fn forward(&self, inputs: &[View]) -> Result<(Storage, Shape)> {
        Ok((self.mask(inputs[0])?, inputs[0].shape.clone()))
    }

    fn backward(&self, _: &[&Tensor], _: &Tensor, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let dx = self.mask(OpenTensor::of(grad).view()?)?;
        Ok(vec![Some(from_storage(dx, grad.shape()))])
    }
}
