//! Which stored responses an Improve learns from.

use super::config::Filter;
use crate::estimators::mean;
use crate::pool_columns::PoolColumns;
use std::collections::{BTreeMap, HashSet};

/// The rows that pass, one flag per row.
///
/// `absolute`: score > threshold, the paper's F. Per prompt (its section on alternatives): score ≥
/// the percentile of the prompt's scores, or ≥ γ·max + (1 − γ)·mean of them, so that each prompt
/// keeps at least its best.
pub(crate) fn passing(pool: &PoolColumns, filter: Filter, threshold: f64) -> Vec<bool> {
    let score = |row: usize| f64::from(pool.score[row]);
    if filter == Filter::Absolute {
        return (0..pool.score.len())
            .map(|row| score(row) > threshold)
            .collect();
    }
    let mut of_prompt: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for row in 0..pool.score.len() {
        of_prompt
            .entry(pool.prompt_key[row])
            .or_default()
            .push(score(row));
    }
    let least: BTreeMap<u64, f64> = of_prompt
        .into_iter()
        .map(|(key, mut scores)| {
            scores.sort_by(f64::total_cmp);
            let best = scores[scores.len() - 1];
            let least = match filter {
                Filter::Percentile => percentile(&scores, threshold),
                _ => threshold * best + (1.0 - threshold) * mean(&scores),
            };
            // rounding must not drop the best
            (key, least.min(best))
        })
        .collect();
    (0..pool.score.len())
        .map(|row| score(row) >= least[&pool.prompt_key[row]])
        .collect()
}

/// Linear interpolation between order statistics (numpy's default); `sorted` ascending, not empty.
fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let at = percent / 100.0 * (sorted.len() - 1) as f64;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    sorted[low] + (at - low as f64) * (sorted[high] - sorted[low])
}

/// Keeps only the first of a prompt's kept rows with equal tokens.
pub(crate) fn drop_repeated(pool: &PoolColumns, kept: &mut [bool]) {
    let mut seen = HashSet::new();
    for (row, kept) in kept.iter_mut().enumerate().filter(|(_, kept)| **kept) {
        *kept = seen.insert((pool.prompt_key[row], pool.response_key[row]));
    }
}
