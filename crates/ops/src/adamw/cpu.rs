//! AdamW on the CPU, in one parallel pass.

use super::step::AdamWStep;
use rayon::prelude::*;

/// Elements of one parallel task, at least.
const MIN_TASK: usize = 32 * 1024;

/// Updates a parameter `p` and its moments `m` and `v` with the gradient `g`.
pub(super) fn adamw((p, m, v): (&mut [f32], &mut [f32], &mut [f32]), g: &[f32], step: &AdamWStep) {
    let (scale, rate) = (step.grad_scale as f32, (1.0 - step.beta1) as f32);
    let (beta2, rate2) = (step.beta2 as f32, (1.0 - step.beta2) as f32);
    let (keep, size) = (step.keep as f32, step.step_size as f32);
    let (correction, eps) = (step.correction2 as f32, step.eps as f32);
    let moments = m.par_iter_mut().with_min_len(MIN_TASK).zip(v);
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
