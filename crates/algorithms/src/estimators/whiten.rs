//! Whitening over all tokens of a batch. Ragged columns hold real tokens only, so there is nothing to mask.

use super::{mean, variance};

/// `(x − mean) / √(var + 1e-8)`, population variance. One value alone becomes 0.
pub fn whiten(values: &mut [f64]) {
    let (m, scale) = (mean(values), scale(values));
    values.iter_mut().for_each(|v| *v = (*v - m) * scale);
}

/// The same scale, the mean kept: for rewards, where a shift per token would be an incentive to write more or less.
pub fn whiten_scale_only(values: &mut [f64]) {
    let (m, scale) = (mean(values), scale(values));
    values.iter_mut().for_each(|v| *v = (*v - m) * scale + m);
}

fn scale(values: &[f64]) -> f64 {
    1.0 / (variance(values) + 1e-8).sqrt()
}
