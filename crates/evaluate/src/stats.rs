//! Means with bootstrap intervals, and win rates. Plain numbers only.
//!
//! Intervals are percentile bootstrap (Efron 1979) over items: 2,000 resamples, 2.5 % and 97.5 %
//! quantiles, drawn from the named stream (seed, "bootstrap"). The same numbers give the same
//! interval.

use rand::Rng;
use serde::{Deserialize, Serialize};

const RESAMPLES: u64 = 2000;

/// A mean and its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    pub mean: f64,
    pub low: f64,
    pub high: f64,
    /// Items averaged.
    pub n: usize,
}

/// Mean of `values` with its interval; `None` without values.
///
/// ```
/// use evaluate::stats::estimate;
/// let e = estimate(&[1.0, 2.0, 3.0, 4.0], 1).expect("there are values");
/// assert_eq!((e.mean, e.n), (2.5, 4));
/// assert!(e.low < e.mean && e.mean < e.high);
/// ```
pub fn estimate(values: &[f64], seed: u64) -> Option<Estimate> {
    let n = values.len();
    if n == 0 {
        return None;
    }
    let mut rng = run::stream(seed, "bootstrap", 0, 0);
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| (0..n).map(|_| values[rng.random_range(0..n)]).sum::<f64>() / n as f64)
        .collect();
    means.sort_by(f64::total_cmp);
    Some(Estimate {
        mean: mean(values),
        low: quantile(&means, 0.025),
        high: quantile(&means, 0.975),
        n,
    })
}

/// Arithmetic mean; NaN without values.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Sample standard deviation (divisor n - 1; 0 for one value).
pub fn std(values: &[f64]) -> f64 {
    let m = mean(values);
    let sum: f64 = values.iter().map(|v| (v - m).powi(2)).sum();
    (sum / (values.len().max(2) - 1) as f64).sqrt()
}

/// Quantile of sorted values, linearly interpolated (NumPy's default).
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    let (below, above) = (at.floor() as usize, at.ceil() as usize);
    sorted[below] + (at - below as f64) * (sorted[above] - sorted[below])
}

/// How often one side was better than the other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wins {
    pub wins: usize,
    pub ties: usize,
    pub losses: usize,
    /// (wins + ties/2) / items, with its interval.
    pub rate: Estimate,
}

impl Wins {
    /// From one outcome per item: 1 a win, 0.5 a tie, 0 a loss.
    pub fn from_outcomes(outcomes: &[f64], seed: u64) -> Option<Self> {
        let count = |outcome: f64| outcomes.iter().filter(|o| **o == outcome).count();
        Some(Self {
            wins: count(1.0),
            ties: count(0.5),
            losses: count(0.0),
            rate: estimate(outcomes, seed)?,
        })
    }

    /// From pairs of scores (mine, theirs): the higher one wins.
    pub fn from_scores(pairs: impl IntoIterator<Item = (f64, f64)>, seed: u64) -> Option<Self> {
        let outcomes: Vec<f64> = pairs
            .into_iter()
            .map(|(mine, theirs)| match mine.total_cmp(&theirs) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            })
            .collect();
        Self::from_outcomes(&outcomes, seed)
    }
}

/// Pearson correlation; 0 if one side is constant.
pub fn correlation(x: &[f64], y: &[f64]) -> f64 {
    let (mx, my) = (mean(x), mean(y));
    let sum =
        |f: &dyn Fn(f64, f64) -> f64| x.iter().zip(y).map(|(x, y)| f(x - mx, y - my)).sum::<f64>();
    let (xy, xx, yy) = (sum(&|x, y| x * y), sum(&|x, _| x * x), sum(&|_, y| y * y));
    if xx * yy == 0.0 {
        0.0
    } else {
        xy / (xx * yy).sqrt()
    }
}
