//! One step of AdamW in one pass over a parameter, its moments and its gradient.

use crate::AdamWStep;
use crate::cuda::element_wise::{THREADS, blocks};
use crate::cuda::launch::Launch;
use crate::cuda::place::{Target, View};
use candle_core::Result;

pub(crate) fn adamw(
    (param, first, second): (Target, Target, Target),
    grad: View,
    n: usize,
    step: &AdamWStep,
) -> Result<()> {
    Launch::new("adamw", blocks(n), THREADS)
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
        .run()
}
