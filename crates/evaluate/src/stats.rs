//! Means with intervals, and win rates. Plain numbers only.
//!
//! Intervals are percentile bootstrap (Efron 1979): 2,000 resamples, 2.5 % and 97.5 % quantiles,
//! drawn from the named stream (seed, "bootstrap"). The same numbers give the same interval. What
//! is resampled are the prompts: rows of one prompt are drawn together, since they are not
//! independent.
//!
//! A share that is the same for every prompt has no spread to resample: at 0 % and 100 % the
//! bootstrap would have width zero. It gets Wilson's interval (1927) for as many trials as prompts.

use rand::Rng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const RESAMPLES: u64 = 2000;
/// The 97.5 % quantile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// A mean and its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    pub mean: f64,
    pub low: f64,
    pub high: f64,
    /// Items averaged.
    pub n: usize,
}

/// Mean of `values` with its interval, each value of a prompt of its own; `None` without values.
///
/// ```
/// use evaluate::stats::estimate;
/// let e = estimate(&[1.0, 2.0, 3.0, 4.0], 1).expect("there are values");
/// assert_eq!((e.mean, e.n), (2.5, 4));
/// assert!(e.low < e.mean && e.mean < e.high);
/// ```
pub fn estimate(values: &[f64], seed: u64) -> Option<Estimate> {
    let singles: Vec<Group> = values.iter().map(|v| Group { sum: *v, n: 1 }).collect();
    bootstrap(&singles, seed)
}

/// Mean of outcomes from 0 to 1 (1 right, 0 wrong, ½ a tie) with its interval. `prompts` names the
/// prompt of each outcome; outcomes of one prompt are resampled together.
///
/// ```
/// use evaluate::stats::share;
/// let all_right = share(&[1.0; 10], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 1).expect("outcomes");
/// assert!(all_right.high == 1.0 && (all_right.low - 0.722).abs() < 0.001); // Wilson's
/// ```
pub fn share(outcomes: &[f64], prompts: &[u64], seed: u64) -> Option<Estimate> {
    let groups = grouped(outcomes, prompts);
    let of_group = |group: &Group| group.sum / group.n as f64;
    let first = groups.first().map(of_group)?;
    if groups.iter().all(|group| of_group(group) == first) {
        let (low, high) = wilson(first, groups.len());
        return Some(Estimate {
            mean: first,
            low,
            high,
            n: outcomes.len(),
        });
    }
    bootstrap(&groups, seed)
}

/// The values of one prompt.
#[derive(Clone, Copy, Default)]
struct Group {
    sum: f64,
    n: usize,
}

/// In the order in which the prompts come first.
fn grouped(values: &[f64], prompts: &[u64]) -> Vec<Group> {
    let mut place = BTreeMap::new();
    let mut groups: Vec<Group> = Vec::new();
    for (value, prompt) in values.iter().zip(prompts) {
        let at = *place.entry(prompt).or_insert(groups.len());
        if at == groups.len() {
            groups.push(Group::default());
        }
        groups[at].sum += value;
        groups[at].n += 1;
    }
    groups
}

fn bootstrap(groups: &[Group], seed: u64) -> Option<Estimate> {
    if groups.is_empty() {
        return None;
    }
    let mean_of = |drawn: &mut dyn Iterator<Item = Group>| {
        let (mut sum, mut n) = (0.0, 0);
        for group in drawn {
            sum += group.sum;
            n += group.n;
        }
        sum / n as f64
    };
    let mut rng = run::stream(seed, "bootstrap", 0, 0);
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let draws = 0..groups.len();
            mean_of(&mut draws.map(|_| groups[rng.random_range(0..groups.len())]))
        })
        .collect();
    means.sort_by(f64::total_cmp);
    Some(Estimate {
        mean: mean_of(&mut groups.iter().copied()),
        low: quantile(&means, 0.025),
        high: quantile(&means, 0.975),
        n: groups.iter().map(|group| group.n).sum(),
    })
}

/// Wilson's 95 % interval of a share seen in `n` trials.
fn wilson(share: f64, n: usize) -> (f64, f64) {
    let n = n as f64;
    let centre = (share + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let variance = share * (1.0 - share) / n + Z * Z / (4.0 * n * n);
    let half = Z * variance.sqrt() / (1.0 + Z * Z / n);
    // At the edges exactly, whatever the rounding.
    let low = if share == 0.0 { 0.0 } else { centre - half };
    let high = if share == 1.0 { 1.0 } else { centre + half };
    (low, high)
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
    /// From one outcome for each prompt: 1 a win, 0.5 a tie, 0 a loss.
    pub fn from_outcomes(outcomes: &[f64], seed: u64) -> Option<Self> {
        let count = |outcome: f64| outcomes.iter().filter(|o| **o == outcome).count();
        Some(Self {
            wins: count(1.0),
            ties: count(0.5),
            losses: count(0.0),
            rate: share(outcomes, &each_its_own(outcomes.len()), seed)?,
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

/// The mean of mine − theirs with its interval: both answered the same prompts, so the prompts'
/// difficulty cancels.
pub fn paired_difference(
    pairs: impl IntoIterator<Item = (f64, f64)>,
    seed: u64,
) -> Option<Estimate> {
    let differences: Vec<f64> = pairs
        .into_iter()
        .map(|(mine, theirs)| mine - theirs)
        .collect();
    estimate(&differences, seed)
}

/// Prompts for outcomes that each have one.
fn each_its_own(n: usize) -> Vec<u64> {
    (0..n as u64).collect()
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
