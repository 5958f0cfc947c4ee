//! Rotary position embedding on a GPU.

use crate::cuda::kernel::Kernel;
use crate::cuda::op::{CudaOp, apply};
use crate::cuda::upload::upload;
use crate::cuda::view::{OpenTensor, View, ViewMut};
use crate::rope::Rotation;
use candle_core::{Result, Shape, Storage, Tensor};

const THREADS: usize = 256;

pub(super) fn rope(x: &Tensor, rotation: Rotation) -> Result<Tensor> {
    let (cos, sin) = rotation.tables;
    let op = Rope {
        cos: cos.detach().contiguous()?,
        sin: sin.detach().contiguous()?,
        positions: upload(rotation.positions.to_vec(), x.device())?,
        head_dim: rotation.head_dim,
        sign: 1.0,
    };
    apply(op, &[x])
}

#[derive(Clone)]
struct Rope {
    /// [max_pos, R/2], f32
    cos: Tensor,
    sin: Tensor,
    positions: Tensor,
    head_dim: usize,
    /// 1, or −1 to rotate back
    sign: f32,
}

impl CudaOp for Rope {
    const NAME: &'static str = "rope";

    fn forward(&self, inputs: &[View]) -> Result<(Storage, Shape)> {
        let x = inputs[0];
        let (n, width) = x.dims2()?;
        let (cos, sin, at) = (
            OpenTensor::of(&self.cos),
            OpenTensor::of(&self.sin),
            OpenTensor::of(&self.positions),
        );
        let mut y = x.alloc(x.dtype(), n * width)?;
        let half = self.cos.dim(1)?;
        // a thread for each pair, and for each number that is not rotated
        let threads = n * (width / self.head_dim) * (self.head_dim - half);
        let thread_blocks = threads.div_ceil(THREADS);
        let name = format!("rope_{}", x.dtype().as_str());
        Kernel::new(name, (thread_blocks, 1), THREADS)
            .read(x)
            .read(cos.view()?)
            .read(sin.view()?)
            .read(at.view()?)
            .write(ViewMut::of(&mut y))
            .u32(n)
            .u32(width)
            .u32(self.head_dim)
            .u32(half)
            .f32(self.sign)
            .launch()?;
        Ok((y, x.shape.clone()))
    }

    fn backward(&self, _: &[&Tensor], _: &Tensor, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let back = Self {
            sign: -self.sign,
            ..self.clone()
        };
        Ok(vec![Some(apply(back, &[&grad.detach()])?)])
    }
}
