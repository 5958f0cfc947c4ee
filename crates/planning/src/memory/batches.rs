//! How large the forwards of a run will be: its batches are a function of the seed, so they are gone through before the first step.

use super::Forward;
use data::{Cursor, Loader};
use ops::Ragged;

/// The forwards with graph of a whole run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Batches {
    /// Tokens of all of them
    pub tokens: u64,
    pub largest: Forward,
}

impl Forward {
    /// One sequence.
    pub fn alone(tokens: usize) -> Self {
        Self {
            tokens,
            pairs: tokens * tokens,
        }
    }

    /// The most of both.
    pub fn or(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.max(other.tokens),
            pairs: self.pairs.max(other.pairs),
        }
    }

    /// Sequences of a ragged batch.
    pub fn of(layout: &Ragged) -> Self {
        let contexts = layout.contexts();
        let lens = layout.lens();
        Self {
            tokens: layout.n_tokens(),
            pairs: lens
                .iter()
                .zip(&contexts)
                .map(|(len, read)| len * read)
                .sum(),
        }
    }

    /// A prompt and sequences that continue it, sharing its tokens.
    pub fn sharing(prompt: usize, continued: impl IntoIterator<Item = usize>) -> Self {
        let mut forward = Self::alone(prompt);
        for len in continued {
            forward.tokens += len;
            forward.pairs += len * (prompt + len);
        }
        forward
    }
}

impl Batches {
    /// Counts with a largest forward of at least so many tokens.
    pub fn fill(&mut self, tokens: usize) {
        let largest = &mut self.largest;
        if tokens > largest.tokens {
            largest.pairs = (largest.pairs * tokens).div_ceil(largest.tokens.max(1));
            largest.tokens = tokens;
        }
    }

    pub fn add(&mut self, forward: Forward) {
        self.tokens += forward.tokens as u64;
        self.largest = self.largest.or(forward);
    }

    /// Adds the forwards that the items `at` are cut into.
    fn cut(&mut self, counted: &[usize], held: &[Forward], at: &[usize], max_tokens: usize) {
        let lens: Vec<usize> = at.iter().map(|i| counted[*i]).collect();
        for range in ops::micro_batches(&lens, max_tokens) {
            let mut forward = Forward::default();
            for i in &at[range] {
                forward.tokens += held[*i].tokens;
                forward.pairs += held[*i].pairs;
            }
            self.add(forward);
        }
    }
}

/// The batches of the fit loop. `counted`: what each item counts for where batches are cut; `held`: what its forward holds.
pub fn of_fit(
    counted: &[usize],
    held: &[Forward],
    (batch, micro_batch_tokens): (usize, usize),
    steps: usize,
    seed: u64,
) -> Batches {
    let mut loader = Loader::new(held.len(), batch, seed, Cursor::default());
    let mut all = Batches::default();
    for _ in 0..steps {
        all.cut(counted, held, &loader.next_batch(), micro_batch_tokens);
    }
    all
}

/// The largest of the forwards that all these items are cut into.
pub fn largest_cut(counted: &[usize], held: &[Forward], micro_batch_tokens: usize) -> Forward {
    let (mut all, at) = (Batches::default(), (0..held.len()).collect::<Vec<_>>());
    all.cut(counted, held, &at, micro_batch_tokens);
    all.largest
}

/// Tokens of the largest micro-batch to expect of a batch of such items: within `max` but for an item that is longer. A batch is drawn at
/// random, so it counts three standard deviations above the mean, and at most the longest items together.
pub fn micro_batch(lens: impl IntoIterator<Item = usize>, batch: usize, max: usize) -> usize {
    let mut lens: Vec<usize> = lens.into_iter().collect();
    lens.sort_unstable_by(|a, b| b.cmp(a));
    let longest = lens.first().copied().unwrap_or(0);
    let taken = lens.len().min(batch);
    let most: usize = lens[..taken].iter().sum();
    let (all, n) = (lens.len().max(1) as f64, taken as f64);
    let mean = lens.iter().sum::<usize>() as f64 / all;
    let squares = lens.iter().map(|len| (*len as f64 - mean).powi(2));
    let variance = squares.sum::<f64>() / all;
    let likely = n * mean + 3.0 * (n * variance).sqrt();
    longest.max(max.min(most).min(likely.ceil() as usize))
}
