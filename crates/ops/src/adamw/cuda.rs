//! AdamW on a GPU, in one kernel.

use super::step::AdamWStep;
use crate::cuda::kernel::Kernel;
use crate::cuda::view::{View, ViewMut};
use candle_core::Result;

pub(super) fn adamw(
    (param, first, second): (ViewMut, ViewMut, ViewMut),
    grad: View,
    n: usize,
    step: &AdamWStep,
) -> Result<()> {
    Kernel::element_wise("adamw", n)
        .write(param)
        .write(first)
        .write(second)
        .read(grad)
        .u64(n)
        .f32(step.grad_scale as f32)
        .f32((1.0 - step.beta1) as f32)
        .f32(step.beta2 as f32)
        .f32((1.0 - step.beta2) as f32)
        .f32(step.eps as f32)
        .f32(step.step_size as f32)
        .f32(step.correction2 as f32)
        .f32(step.keep as f32)
        .launch()
}
