//! Mean and variance of scores, of one batch or running over all that were seen.

use serde::{Deserialize, Serialize};

/// f32, which JSON carries exactly: a resumed run goes on with the same numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Moments {
    rows: u64,
    mean: f32,
    /// Population variance
    variance: f32,
}

impl Moments {
    pub fn of(scores: &[f32]) -> Self {
        let mut moments = Self::default();
        moments.add(scores);
        moments
    }

    /// Takes in more scores (Chan, Golub & LeVeque 1979).
    pub fn add(&mut self, scores: &[f32]) {
        if scores.is_empty() {
            return;
        }
        let n = scores.len() as f64;
        let mean = scores.iter().map(|s| f64::from(*s)).sum::<f64>() / n;
        let squares: f64 = scores.iter().map(|s| (f64::from(*s) - mean).powi(2)).sum();
        let before = self.rows as f64;
        let all = before + n;
        let apart = mean - f64::from(self.mean);
        let squares =
            f64::from(self.variance) * before + squares + apart * apart * before * n / all;
        self.mean = (f64::from(self.mean) + apart * n / all) as f32;
        self.variance = (squares / all) as f32;
        self.rows += scores.len() as u64;
    }

    /// `(score - mean) / std`; where all scores are alike, 0 apart from the mean.
    pub fn normalised(&self, score: f32) -> f64 {
        let std = f64::from(self.variance).sqrt();
        (f64::from(score) - f64::from(self.mean)) / if std > 1e-6 { std } else { 1.0 }
    }
}
