//! Learning-rate schedules: the factors of transformers'
//! `get_{constant,linear,cosine}_schedule_with_warmup`.

use serde::{Deserialize, Serialize};

/// How the learning rate falls after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    Constant,
    Linear,
    Cosine,
}

impl Schedule {
    /// Multiplier of the peak learning rate at `step` (0-based) of `total`, after `warmup` linear
    /// steps. The first step of a warm-up has factor 0. Linear and cosine reach 0 at `total` and
    /// stay there.
    ///
    /// ```
    /// use train::Schedule;
    /// let factors: Vec<f64> = (0..5).map(|step| Schedule::Linear.factor(step, 2, 4)).collect();
    /// assert_eq!(factors, [0.0, 0.5, 1.0, 0.5, 0.0]);
    /// ```
    pub fn factor(&self, step: usize, warmup: usize, total: usize) -> f64 {
        if step < warmup {
            return step as f64 / warmup as f64;
        }
        let remaining = total.saturating_sub(warmup).max(1) as f64;
        let progress = ((step - warmup) as f64 / remaining).min(1.0);
        match self {
            Self::Constant => 1.0,
            Self::Linear => 1.0 - progress,
            Self::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
        }
    }
}
