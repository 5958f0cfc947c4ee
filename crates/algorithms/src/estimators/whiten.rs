//! Whitening over all tokens of a batch. Columns hold no padding, so there is no mask.

use super::{mean, variance};

/// `(x − mean) / √(var + 1e-8)`, with the population variance. A single value becomes 0.
pub fn whiten(values: &mut [f64]) {
    let (m, scale) = (mean(values), scale(values));
    values.iter_mut().for_each(|v| *v = (*v - m) * scale);
}

/// [`whiten`] without moving the mean. For rewards, where a shift per token would reward longer or
/// shorter responses.
pub fn whiten_scale_only(values: &mut [f64]) {
    let (m, scale) = (mean(values), scale(values));
    values.iter_mut().for_each(|v| *v = (*v - m) * scale + m);
}

fn scale(values: &[f64]) -> f64 {
    1.0 / (variance(values) + 1e-8).sqrt()
}
