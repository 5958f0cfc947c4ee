//! Activation checkpointing: a part of a network that keeps only its input and is recomputed for
//! its gradient. Source: Chen et al. 2016, section 4. Works on every device, because it runs the
//! part's own operations.

use candle_core::{
    CpuStorage, CudaStorage, CustomOp2, DType, Layout, Result, Shape, Storage, Tensor, Var, bail,
};
use std::sync::Mutex;

/// `part(x, params)` that keeps only `x` and `params` and runs `part` a second time for the
/// gradient of both. `part` must give the same numbers each time. A parameter is a variable or its
/// elements have a graph; `x` may have none.
pub fn checkpoint(
    x: &Tensor,
    params: &[Tensor],
    part: impl Fn(&Tensor, &[Tensor]) -> Result<Tensor> + Send + Sync + 'static,
) -> Result<Tensor> {
    let result = part(&x.detach(), params)?.detach();
    let flat = params
        .iter()
        .map(Tensor::flatten_all)
        .collect::<Result<Vec<_>>>()?;
    let flat = match flat.is_empty() {
        // the op has two inputs
        true => Tensor::zeros(1, DType::F32, x.device())?,
        false => Tensor::cat(&flat, 0)?,
    };
    let op = Checkpoint {
        part: Box::new(part),
        shapes: params.iter().map(|p| p.shape().clone()).collect(),
        result: Mutex::new(Some(result)),
    };
    x.apply_op2(&flat, op)
}

type Part = dyn Fn(&Tensor, &[Tensor]) -> Result<Tensor> + Send + Sync;

/// Over (x, the elements of all parameters, concatenated).
struct Checkpoint {
    part: Box<Part>,
    shapes: Vec<Shape>,
    /// Computed before the op is applied, taken by its forward.
    result: Mutex<Option<Tensor>>,
}

impl Checkpoint {
    fn take(&self) -> Result<Tensor> {
        match self.result.lock().map(|mut result| result.take()) {
            Ok(Some(result)) => Ok(result),
            _ => bail!("checkpoint: the op was applied twice"),
        }
    }
}

impl CustomOp2 for Checkpoint {
    fn name(&self) -> &'static str {
        "checkpoint"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        cpu_copy(&self.take()?)
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        cuda_copy(&self.take()?)
    }

    fn bwd(
        &self,
        x: &Tensor,
        flat: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let tracked = x.track_op();
        let x = match tracked {
            true => Var::from_tensor(&x.detach())?.into_inner(),
            false => x.detach(),
        };
        let (mut params, mut start) = (Vec::new(), 0);
        for shape in &self.shapes {
            let elements = flat.detach().narrow(0, start, shape.elem_count())?;
            params.push(Var::from_tensor(&elements.reshape(shape)?)?.into_inner());
            start += shape.elem_count();
        }
        let result = (self.part)(&x, &params)?;
        let mut grads = result.backward_with(grad.clone())?;
        let mut of = |input: &Tensor| match grads.remove(input) {
            Some(grad) => Ok(grad),
            None => bail!(
                "checkpoint: no gradient reaches an input of {:?}",
                input.dims()
            ),
        };
        let dx = if tracked { Some(of(&x)?) } else { None };
        let mut parts = Vec::new();
        for param in &params {
            parts.push(of(param)?.flatten_all()?);
        }
        let dflat = match parts.is_empty() {
            true => None,
            false => Some(Tensor::cat(&parts, 0)?),
        };
        Ok((dx, dflat))
    }
}

/// A copy of a result that was computed before its op was applied, on the CPU.
pub(crate) fn cpu_copy(result: &Tensor) -> Result<(CpuStorage, Shape)> {
    let (storage, layout) = result.storage_and_layout();
    match storage.try_clone(layout)? {
        Storage::Cpu(copy) => Ok((copy, result.shape().clone())),
        _ => bail!("the result is on another device than the input"),
    }
}

/// The same on a GPU.
pub(crate) fn cuda_copy(result: &Tensor) -> Result<(CudaStorage, Shape)> {
    let (storage, layout) = result.storage_and_layout();
    match storage.try_clone(layout)? {
        Storage::Cuda(copy) => Ok((copy, result.shape().clone())),
        _ => bail!("the result is on another device than the input"),
    }
}
