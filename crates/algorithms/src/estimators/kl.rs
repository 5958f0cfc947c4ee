//! Estimators of KL(policy ‖ reference) from sampled tokens, and controllers of its coefficient.

use serde::{Deserialize, Serialize};

/// An estimate of KL(p ‖ q) from one token sampled from the policy p, given `x = log p − log q`.
///
/// Source: Schulman, "Approximating KL divergence" (2020).
///
/// ```
/// use algorithms::estimators::kl::Estimator;
///
/// let x = 2f64.ln(); // the policy gives the token twice the reference's probability
/// assert_eq!(Estimator::K1.of(x), x);
/// assert_eq!(Estimator::K2.of(x), x * x / 2.0);
/// assert!((Estimator::K3.of(x) - (0.5 - 1.0 + x)).abs() < 1e-15);
/// assert_eq!(Estimator::Positive.of(-x), 0.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Estimator {
    /// x: unbiased, may be negative
    K1,
    /// x²/2: biased, small variance
    K2,
    /// e^(−x) − 1 + x: unbiased, never negative
    K3,
    /// |x|
    Abs,
    /// max(x, 0), as ESRL's release
    Positive,
}

impl Estimator {
    /// The estimate in nats. `x` is clamped to ±20 where it is exponentiated.
    pub fn of(self, x: f64) -> f64 {
        match self {
            Self::K1 => x,
            Self::K2 => 0.5 * x * x,
            Self::K3 => {
                let x = x.clamp(-20.0, 20.0);
                (-x).exp_m1() + x
            }
            Self::Abs => x.abs(),
            Self::Positive => x.max(0.0),
        }
    }
}

/// How the KL coefficient moves during a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Controller {
    Fixed,
    Adaptive,
}

/// The adaptive coefficient after `episodes` responses whose summed KL has the mean `kl`.
///
/// Ziegler et al. 2019, section 2.2: `coef · (1 + clip(kl/target − 1, ±0.2) · episodes / horizon)`
pub fn adapt(coef: f64, kl: f64, episodes: usize, target: f64, horizon: f64) -> f64 {
    let error = (kl / target - 1.0).clamp(-0.2, 0.2);
    coef * (1.0 + error * episodes as f64 / horizon)
}
