//! A phase: consecutive steps under one set of weights, and the rows that each of them takes.

use algorithms::Algorithm;
use algorithms::Metrics;
use anyhow::{Result, ensure};
use rand::Rng;
use rand::seq::SliceRandom;

pub(super) struct Phase {
    pub number: u64,
    pub start: u64,
    /// Rows of weight above 0
    pub kept: Vec<usize>,
    /// One per row of the pool
    weights: Vec<f64>,
}

/// The phase that `step` belongs to, with the algorithm's weights and metrics.
pub(super) fn weigh(
    algorithm: &dyn Algorithm,
    pool: &algorithms::PoolColumns,
    number: u64,
    step: u64,
) -> Result<(Phase, Metrics)> {
    let (weights, metrics) = algorithm.weigh(pool, number)?;
    let kept: Vec<usize> = (0..weights.len()).filter(|i| weights[*i] > 0.0).collect();
    ensure!(
        !kept.is_empty(),
        "no stored response is left to learn from; lower the algorithm's threshold"
    );
    let mut start = step;
    while start > 0 && algorithm.phase(start - 1) == number {
        start -= 1;
    }
    let phase = Phase {
        number,
        start,
        kept,
        weights,
    };
    Ok((phase, metrics))
}

impl Phase {
    pub fn weight(&self, row: usize) -> f64 {
        self.weights[row]
    }

    /// `n` rows with replacement, in proportion to their weights.
    pub fn by_weight(&self, n: usize, seed: u64, step: u64) -> Vec<usize> {
        let total: f64 = self.weights.iter().sum();
        let mut rng = run::stream(seed, "pool", step, 0);
        let mut one = || {
            let mut left = rng.random::<f64>() * total;
            let mut at = 0;
            while at + 1 < self.kept.len() && left >= self.weights[self.kept[at]] {
                left -= self.weights[self.kept[at]];
                at += 1;
            }
            self.kept[at]
        };
        (0..n).map(|_| one()).collect()
    }

    /// The `nth` batch of an epoch, each row once.
    pub fn of_epoch(&self, n: usize, seed: u64, epoch: u64, nth: u64) -> Vec<usize> {
        let mut order = self.kept.clone();
        order.shuffle(&mut run::stream(seed, "pool", self.number, epoch));
        let begin = nth as usize * n;
        order[begin..(begin + n).min(order.len())].to_vec()
    }
}
