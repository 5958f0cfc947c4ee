//! Pure functions that methods share, on plain f64 numbers.

pub mod baseline;
pub mod capability;
pub mod gae;
pub mod kl;
pub mod macros;
pub mod whiten;

/// Arithmetic mean; 0 for no values.
pub fn mean(values: &[f64]) -> f64 {
    match values.len() {
        0 => 0.0,
        n => values.iter().sum::<f64>() / n as f64,
    }
}

/// Population variance; 0 for no values.
pub fn variance(values: &[f64]) -> f64 {
    let m = mean(values);
    mean(&values.iter().map(|v| (v - m) * (v - m)).collect::<Vec<_>>())
}

/// Sample standard deviation (divisor n − 1); 0 for fewer than two values.
pub fn sample_std(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    (variance(values) * n / (n - 1.0).max(1.0)).sqrt()
}

/// `1 − var(returns − values) / var(returns)`: 1 for a perfect critic, 0 for a constant one.
///
/// 0 when the returns do not vary.
pub fn explained_variance(values: &[f64], returns: &[f64]) -> f64 {
    let spread = variance(returns);
    let residual: Vec<f64> = returns.iter().zip(values).map(|(r, v)| r - v).collect();
    match spread > 0.0 {
        true => 1.0 - variance(&residual) / spread,
        false => 0.0,
    }
}
