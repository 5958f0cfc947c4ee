//! One step of AdamW (Loshchilov & Hutter 2019) by PyTorch's update rule, in place and in one pass
//! over a parameter, its moments and its gradient.

mod cpu;
mod cuda;
pub mod reference;
mod step;

pub use step::AdamWStep;

use crate::cuda::emulating;
use crate::cuda::view::{DeviceStorage, OpenTensor, View, ViewMut, modify};
use candle_core::{CpuStorage, DType, Result, Tensor, bail};

/// Updates a parameter and the running means of its gradient (`first`) and of the gradient's square
/// (`second`) in place. All have one shape. Fused where all are f32.
pub fn adamw(
    param: &Tensor,
    first: &Tensor,
    second: &Tensor,
    grad: &Tensor,
    step: &AdamWStep,
) -> Result<()> {
    let grad = grad.detach().contiguous()?;
    let all = [param, first, second, &grad];
    if all.iter().any(|t| t.dims() != param.dims()) {
        bail!(
            "adamw: a parameter {:?} with moments {:?}, {:?} and a gradient {:?}",
            param.dims(),
            first.dims(),
            second.dims(),
            grad.dims()
        )
    }
    if all.iter().any(|t| t.dtype() != DType::F32) {
        return reference::adamw(param, first, second, &grad, step);
    }
    let n = param.elem_count();
    let grad = OpenTensor::of(&grad);
    modify(param, |param| {
        modify(first, |first| {
            modify(second, |second| match (param, first, second) {
                (ViewMut::Host(p, p0), ViewMut::Host(m, m0), ViewMut::Host(v, v0))
                    if !emulating() =>
                {
                    let all = (part(p, p0, n)?, part(m, m0, n)?, part(v, v0, n)?);
                    cpu::adamw(all, gradient(grad.view()?, n)?, step);
                    Ok(())
                }
                (p, m, v) => cuda::adamw((p, m, v), grad.view()?, n, step),
            })
        })
    })
}

fn part(storage: &mut CpuStorage, start: usize, n: usize) -> Result<&mut [f32]> {
    match storage {
        CpuStorage::F32(data) => Ok(&mut data[start..start + n]),
        _ => bail!("adamw: a parameter that is not f32"),
    }
}

fn gradient(view: View<'_>, n: usize) -> Result<&[f32]> {
    match view.storage {
        DeviceStorage::Host(CpuStorage::F32(data)) => Ok(&data[view.start..view.start + n]),
        _ => bail!("adamw: the gradient is on another device than the parameter"),
    }
}
