//! Running statistics of a row of logits (online softmax), whose parts can be merged.

use crate::simd::{Lanes, dispatch, exp, get, put};

/// Running statistics of one row: the largest x, Σ e^(x−max) and Σ e^(x−max)·y for a payload y
/// relative to `max`.
#[derive(Clone, Copy)]
pub(super) struct Running {
    pub max: f32,
    pub sum: f64,
    pub weighted: f64,
}

impl Running {
    pub const NONE: Self = Self {
        max: f32::NEG_INFINITY,
        sum: 0.0,
        weighted: 0.0,
    };

    /// The statistics of the union. `shift` is 1 where the payload is x − max, which moves with the
    /// maximum, and 0 otherwise.
    pub fn merge(self, other: Self, shift: f64) -> Self {
        if self.sum == 0.0 {
            return other;
        }
        let max = if self.max > other.max {
            self.max
        } else {
            other.max
        };
        let moved = |r: Self| {
            let by = (r.max - max) as f64;
            let e = by.exp();
            (r.sum * e, e * (r.weighted + shift * by * r.sum))
        };
        let ((s1, w1), (s2, w2)) = (moved(self), moved(other));
        Self {
            max,
            sum: s1 + s2,
            weighted: w1 + w2,
        }
    }

    pub fn lse(&self) -> f64 {
        self.max as f64 + self.sum.ln()
    }

    pub fn logp(&self, label: f32) -> f32 {
        (label as f64 - self.lse()) as f32
    }

    /// If the payload is x − max.
    pub fn entropy(&self) -> f32 {
        (self.sum.ln() - self.weighted / self.sum) as f32
    }
}

/// The statistics of all runs, merged in their order.
pub(super) fn merged(partial: Vec<Vec<Running>>, m: usize, shift: f64) -> Vec<Running> {
    let mut all = vec![Running::NONE; m];
    for part in partial {
        for (a, b) in all.iter_mut().zip(part) {
            *a = a.merge(b, shift);
        }
    }
    all
}

/// Scales the logits in place and gives their statistics, with x − max as the payload.
#[inline(always)]
unsafe fn statistics_kernel<L: Lanes>(x: &mut [f32], inv_temperature: f32) -> Running {
    // SAFETY: the caller is inside a `dispatch!` function.
    unsafe {
        let (scale, none) = (L::splat(inv_temperature), f32::NEG_INFINITY);
        let mut max = L::splat(none);
        for i in (0..x.len()).step_by(L::N) {
            let v = get::<L>(x, i, none).mul(scale);
            max = max.max(v);
            put(x, i, v);
        }
        let max = max.largest();
        let (top, mut sum, mut weighted) = (L::splat(max), L::splat(0.0), L::splat(0.0));
        for i in (0..x.len()).step_by(L::N) {
            // beyond the end: e^-87, which vanishes beside the e^0 of the maximum
            let v = get::<L>(x, i, max - 87.0).sub(top);
            let e = exp(v);
            sum = sum.add(e);
            weighted = e.fma(v, weighted);
        }
        Running {
            max,
            sum: sum.sum() as f64,
            weighted: weighted.sum() as f64,
        }
    }
}
dispatch!(pub(super) fn statistics = statistics_kernel(x: &mut [f32], inv_temperature: f32) -> Running);
