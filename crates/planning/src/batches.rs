//! Sizes of the forwards of a run. Its batches are a function of the seed, so planning walks them
//! by their sizes: one epoch, which represents the others.

use data::{Cursor, Loader};
use ops::Ragged;

/// The size of one forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forward {
    pub tokens: usize,
    /// Pairs of a token and one that its sequence reads, masked or not
    pub pairs: usize,
}

impl Forward {
    /// One sequence by itself.
    pub fn sequence(tokens: usize) -> Self {
        Self {
            tokens,
            pairs: tokens * tokens,
        }
    }

    /// A ragged batch.
    pub fn of(layout: &Ragged) -> Self {
        let lens = layout.lens();
        let contexts = layout.contexts();
        let pairs = lens.iter().zip(&contexts).map(|(len, read)| len * read);
        Self {
            tokens: layout.n_tokens(),
            pairs: pairs.sum(),
        }
    }

    /// A prompt and responses of these lengths that share its tokens.
    ///
    /// ```
    /// let pair = planning::Forward::shared_prompt(10, [4, 6]);
    /// assert_eq!((pair.tokens, pair.pairs), (20, 10 * 10 + 4 * 14 + 6 * 16));
    /// ```
    pub fn shared_prompt(prompt: usize, responses: impl IntoIterator<Item = usize>) -> Self {
        responses
            .into_iter()
            .fold(Self::sequence(prompt), |sum, len| Self {
                tokens: sum.tokens + len,
                pairs: sum.pairs + len * (prompt + len),
            })
    }

    /// The larger of both, in tokens and in pairs.
    pub fn max(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.max(other.tokens),
            pairs: self.pairs.max(other.pairs),
        }
    }
}

impl std::iter::Sum for Forward {
    fn sum<I: Iterator<Item = Self>>(each: I) -> Self {
        each.fold(Self::default(), |sum, one| Self {
            tokens: sum.tokens + one.tokens,
            pairs: sum.pairs + one.pairs,
        })
    }
}

/// The forwards with a graph of a whole run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Batches {
    /// Tokens of all forwards
    pub tokens: u64,
    pub largest: Forward,
}

impl Batches {
    /// Adds a forward that the run makes `times` times.
    pub fn add(&mut self, forward: Forward, times: usize) {
        let tokens = (forward.tokens as u64).saturating_mul(times as u64);
        self.tokens = self.tokens.saturating_add(tokens);
        self.largest = self.largest.max(forward);
    }

    /// Allows for a batch of `batch_tokens` tokens whose micro-batches are not known: the largest
    /// may have up to `limit` tokens.
    pub fn add_unknown_split(&mut self, batch_tokens: usize, limit: usize) {
        let (largest, tokens) = (&mut self.largest, batch_tokens.min(limit));
        if tokens > largest.tokens {
            largest.pairs = (largest.pairs * tokens).div_ceil(largest.tokens.max(1));
            largest.tokens = tokens;
        }
    }
}

/// Walks the batches of a run of `steps` steps that passes over its rows in epochs; `loader` opens
/// the run's own loader. Calls `visit(step, batch, times)` for each batch of the first epoch, which
/// represents all complete epochs, and for each batch of the last epoch where that ends early: at
/// most two epochs of calls, however many steps there are.
///
/// ```
/// let loader = |cursor| data::Loader::new(10, 4, 1, cursor);
/// let (mut calls, mut steps) = (0, 0);
/// planning::visit_batches(3_000_001, loader, |_, batch, times| {
///     assert!(batch.len() <= 4);
///     calls += 1;
///     steps += times;
/// });
/// assert_eq!((calls, steps), (3 + 1, 3_000_001));
/// ```
pub fn visit_batches(
    steps: usize,
    loader: impl Fn(Cursor) -> Loader,
    mut visit: impl FnMut(usize, &[usize], usize),
) {
    let per_epoch = loader(Cursor::default()).batches_per_epoch().max(1);
    let (complete, left) = (steps / per_epoch, steps % per_epoch);
    let first = if complete > 0 { per_epoch } else { 0 };
    for (epoch, batches, times) in [(0, first, complete), (complete, left, 1)] {
        let mut loader = loader(Cursor { epoch, index: 0 });
        for i in 0..batches {
            visit(epoch * per_epoch + i, &loader.next_batch(), times);
        }
    }
}
