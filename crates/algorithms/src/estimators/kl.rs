//! Estimators of KL(policy ‖ reference) from sampled tokens, and controllers of its coefficient.

use serde::{Deserialize, Serialize};

/// A token's divergence from `x = log p − log q`, p the policy, under which the token was drawn.
/// Source: Schulman, "Approximating KL divergence" (2020).
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
    /// Nats. `x` is held to ±20 where it is exponentiated.
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Controller {
    Fixed,
    Adaptive,
}

/// Ziegler et al. 2019, section 2.2: the coefficient after `episodes` responses whose summed KL had the mean `kl`.
/// `coef · (1 + clip(kl/target − 1, ±0.2) · episodes / horizon)`
pub fn adapt(coef: f64, kl: f64, episodes: usize, target: f64, horizon: f64) -> f64 {
    let error = (kl / target - 1.0).clamp(-0.2, 0.2);
    coef * (1.0 + error * episodes as f64 / horizon)
}
