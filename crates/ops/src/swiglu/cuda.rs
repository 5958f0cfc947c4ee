//! SwiGLU on a GPU.

use crate::cuda::kernel::Kernel;
use crate::cuda::op::{CudaOp, apply};
use crate::cuda::view::{OpenTensor, View, ViewMut, from_storage};
use candle_core::{Result, Shape, Storage, Tensor};

pub(super) fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    apply(Swiglu, &[gate, up])
}

/// Over (gate, up).
struct Swiglu;

impl CudaOp for Swiglu {
    const NAME: &'static str = "swiglu";

    fn forward(&self, inputs: &[View]) -> Result<(Storage, Shape)> {
        let (gate, up) = (inputs[0], inputs[1]);
        let n = gate.shape.elem_count();
        let mut y = gate.alloc(gate.dtype(), n)?;
        Kernel::element_wise(format!("swiglu_{}", gate.dtype().as_str()), n)
            .read(gate)
            .read(up)
            .write(ViewMut::of(&mut y))
            .u64(n)
            .launch()?;
        Ok((y, gate.shape.clone()))
    }

    fn backward(
        &self,
        inputs: &[&Tensor],
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<Vec<Option<Tensor>>> {
        let [gate, up, g] = [inputs[0], inputs[1], grad].map(OpenTensor::of);
        let (gate, up, g) = (gate.view()?, up.view()?, g.view()?);
        let (n, dtype) = (gate.shape.elem_count(), gate.dtype());
        let (mut dgate, mut dup) = (gate.alloc(dtype, n)?, gate.alloc(dtype, n)?);
        Kernel::element_wise(format!("swiglu_backward_{}", dtype.as_str()), n)
            .read(gate)
            .read(up)
            .read(g)
            .write(ViewMut::of(&mut dgate))
            .write(ViewMut::of(&mut dup))
            .u64(n)
            .launch()?;
        let shape = inputs[0].shape();
        let [dgate, dup] = [dgate, dup].map(|storage| Some(from_storage(storage, shape)));
        Ok(vec![dgate, dup])
    }
}
