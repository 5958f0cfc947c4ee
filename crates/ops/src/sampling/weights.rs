//! Softmax weights of one row of logits, relative to the largest: what the CPU sampler draws from.

use crate::simd::{Lanes, dispatch, exp, get, put};

/// Elements that are summed in f32 before they go into an f64 sum.
pub const WEIGHTS_BLOCK: usize = 1024;

/// Sums over the [`softmax_weights`] of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightSums {
    /// The first largest logit
    pub top: usize,
    /// Σ weight of each block of [`WEIGHTS_BLOCK`] elements, in order
    pub blocks: Vec<f64>,
    /// Σ weight·log weight
    pub weighted: f64,
}

impl WeightSums {
    /// Σ weight.
    pub fn total(&self) -> f64 {
        self.blocks.iter().sum()
    }
}

/// `weights[i] = exp((logits[i] − max) / temperature)`; below e^-87 it is 0. `None` if the largest
/// logit is not finite; a NaN elsewhere makes the sums NaN.
pub fn softmax_weights(
    logits: &[f32],
    temperature: f32,
    weights: &mut Vec<f32>,
) -> Option<WeightSums> {
    let max = largest(logits);
    let top = logits.iter().position(|x| *x == max).unwrap_or(0);
    if !max.is_finite() {
        return None;
    }
    weights.clear();
    weights.extend_from_slice(logits);
    let mut sums = WeightSums {
        top,
        blocks: Vec::with_capacity(logits.len().div_ceil(WEIGHTS_BLOCK)),
        weighted: 0.0,
    };
    for block in weights.chunks_mut(WEIGHTS_BLOCK) {
        let (sum, weighted) = weigh(block, max, 1.0 / temperature);
        sums.blocks.push(f64::from(sum));
        sums.weighted += f64::from(weighted);
    }
    Some(sums)
}

#[inline(always)]
unsafe fn largest_kernel<L: Lanes>(x: &[f32]) -> f32 {
    // SAFETY: the caller is inside a `dispatch!` function.
    unsafe {
        let mut max = L::splat(f32::NEG_INFINITY);
        for i in (0..x.len()).step_by(L::N) {
            max = max.max(get(x, i, f32::NEG_INFINITY));
        }
        max.largest()
    }
}
dispatch!(fn largest = largest_kernel(x: &[f32]) -> f32);

#[inline(always)]
unsafe fn weigh_kernel<L: Lanes>(x: &mut [f32], max: f32, inv_temperature: f32) -> (f32, f32) {
    // SAFETY: the caller is inside a `dispatch!` function.
    unsafe {
        let (top, scale) = (L::splat(max), L::splat(inv_temperature));
        // subtract the smallest value that `exp` returns, so that far logits weigh exactly 0
        let least = exp(L::splat(-100.0));
        let (mut sum, mut weighted) = (L::splat(0.0), L::splat(0.0));
        for i in (0..x.len()).step_by(L::N) {
            let log = get::<L>(x, i, f32::NEG_INFINITY).sub(top).mul(scale);
            // `max` returns its second operand when one is NaN
            let weight = L::splat(0.0).max(exp(log).sub(least));
            sum = sum.add(weight);
            weighted = weight.fma(L::splat(-100.0).max(log), weighted);
            put(x, i, weight);
        }
        (sum.sum(), weighted.sum())
    }
}
dispatch!(fn weigh = weigh_kernel(x: &mut [f32], max: f32, inv_temperature: f32) -> (f32, f32));
