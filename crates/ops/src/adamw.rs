//! One step of AdamW (Loshchilov & Hutter 2019) by PyTorch's update rule, in place and in one pass over a parameter, its moments and its
//! gradient, f32.

use crate::composed;
use crate::cuda;
use crate::cuda::place::{Open, Place, Target, View, change};
use candle_core::{CpuStorage, DType, Result, Tensor, bail};
use rayon::prelude::*;

/// What one step needs beside the tensors.
#[derive(Clone, Copy, Debug)]
pub struct AdamWStep {
    /// Multiplies the gradient (clipping).
    pub grad_scale: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    /// `lr / (1 - beta1^t)`
    pub step_size: f64,
    /// `sqrt(1 - beta2^t)`
    pub correction2: f64,
    /// `1 - lr · weight_decay`
    pub keep: f64,
}

/// Changes a parameter and the running means of its gradient (`first`) and of the square of it (`second`), all of one shape.
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
        return composed::adamw(param, first, second, &grad, step);
    }
    let n = param.elem_count();
    let grad = Open::of(&grad);
    change(param, |param| {
        change(first, |first| {
            change(second, |second| match (param, first, second) {
                (Target::Host(p, p0), Target::Host(m, m0), Target::Host(v, v0))
                    if !cuda::emulating() =>
                {
                    let all = (part(p, p0, n)?, part(m, m0, n)?, part(v, v0, n)?);
                    on_cpu(all, gradient(grad.view()?, n)?, step);
                    Ok(())
                }
                (p, m, v) => cuda::adamw((p, m, v), grad.view()?, n, step),
            })
        })
    })
}

/// Elements per parallel piece.
const GRAIN: usize = 32 * 1024;

fn on_cpu((p, m, v): (&mut [f32], &mut [f32], &mut [f32]), g: &[f32], step: &AdamWStep) {
    let (scale, rate) = (step.grad_scale as f32, (1.0 - step.beta1) as f32);
    let (beta2, rate2) = (step.beta2 as f32, (1.0 - step.beta2) as f32);
    let (keep, size) = (step.keep as f32, step.step_size as f32);
    let (correction, eps) = (step.correction2 as f32, step.eps as f32);
    let moments = m.par_iter_mut().with_min_len(GRAIN).zip(v);
    p.par_iter_mut()
        .zip(moments)
        .zip(g)
        .for_each(|((p, (m, v)), g)| {
            let g = g * scale;
            *m += (g - *m) * rate;
            *v = *v * beta2 + g * g * rate2;
            *p = *p * keep - size * (*m / (v.sqrt() / correction + eps));
        });
}

fn part(storage: &mut CpuStorage, start: usize, n: usize) -> Result<&mut [f32]> {
    match storage {
        CpuStorage::F32(data) => Ok(&mut data[start..start + n]),
        _ => bail!("adamw: a parameter that is not f32"),
    }
}

fn gradient(view: View<'_>, n: usize) -> Result<&[f32]> {
    match view.place {
        Place::Host(CpuStorage::F32(data)) => Ok(&data[view.start..view.start + n]),
        _ => bail!("adamw: the gradient is on another device than the parameter"),
    }
}
