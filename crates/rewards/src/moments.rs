//! Mean and variance of scores, of one batch or running over all so far.

use serde::{Deserialize, Serialize};

/// In f32, which JSON holds exactly: a resumed run continues with the same numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Moments {
    rows: u64,
    mean: f32,
    /// Population variance
    variance: f32,
}

impl Moments {
    /// The moments of one batch.
    pub fn of(scores: &[f32]) -> Self {
        let mut moments = Self::default();
        moments.add(scores);
        moments
    }

    /// Adds scores (Chan, Golub & LeVeque 1979).
    pub fn add(&mut self, scores: &[f32]) {
        if scores.is_empty() {
            return;
        }
        let n = scores.len() as f64;
        let mean = scores.iter().map(|s| f64::from(*s)).sum::<f64>() / n;
        let squares: f64 = scores.iter().map(|s| (f64::from(*s) - mean).powi(2)).sum();
        let before = self.rows as f64;
        let all = before + n;
        let shift = mean - f64::from(self.mean);
        let squares =
            f64::from(self.variance) * before + squares + shift * shift * before * n / all;
        self.mean = (f64::from(self.mean) + shift * n / all) as f32;
        self.variance = (squares / all) as f32;
        self.rows += scores.len() as u64;
    }

    /// `(score - mean) / std`, or `score - mean` where all scores are equal.
    pub fn normalised(&self, score: f32) -> f64 {
        let std = f64::from(self.variance).sqrt();
        (f64::from(score) - f64::from(self.mean)) / if std > 1e-6 { std } else { 1.0 }
    }
}
