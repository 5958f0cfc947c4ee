//! Sizes of the forwards of a run. Its batches are a function of the seed, so planning walks them
//! by their sizes: the first epochs, of which one represents those that follow.

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

    /// Allows for a forward of `tokens` tokens in a batch that is not walked.
    pub fn allow_for(&mut self, tokens: usize) {
        let largest = &mut self.largest;
        if tokens > largest.tokens {
            largest.pairs = (largest.pairs * tokens).div_ceil(largest.tokens.max(1));
            largest.tokens = tokens;
        }
    }
}

/// The most tokens that a micro-batch of any `batch_size` of these items can hold. An item is what
/// it counts towards `limit`, which only a micro-batch of one item exceeds, and the tokens that it
/// holds.
///
/// ```
/// // two rows of 520 tokens never fit into 1,024
/// assert_eq!(planning::largest_micro_batch(&[(520, 520); 9], 4, 1024), 520);
/// assert_eq!(planning::largest_micro_batch(&[(520, 520), (30, 30), (20, 20)], 4, 1024), 570);
/// ```
pub fn largest_micro_batch(items: &[(usize, usize)], batch_size: usize, limit: usize) -> usize {
    let mut counted: Vec<usize> = items.iter().map(|item| item.0).collect();
    counted.sort_unstable();
    let (mut fit, mut sum) = (0, 0);
    for count in counted.iter().take(batch_size) {
        sum += count;
        fit += usize::from(sum <= limit);
    }
    let mut held: Vec<usize> = items.iter().map(|item| item.1).collect();
    held.sort_unstable_by(|a, b| b.cmp(a));
    let longest = held.first().copied().unwrap_or(0);
    let together: usize = held.iter().take(fit).sum();
    let densest = items
        .iter()
        .map(|(count, held)| *held as f64 / (*count).max(1) as f64);
    let full = (limit as f64 * densest.fold(0.0, f64::max)).ceil() as usize;
    longest.max(together.min(full))
}

/// Complete epochs that are walked. Runs of up to so many are planned from their own batches; of
/// longer runs the largest forward is bounded by all that the rows could make.
const WALKED_EPOCHS: usize = 4;

/// Walks the batches of a run of `steps` steps that passes over its rows in epochs; `loader` opens
/// the run's own loader. Calls `visit(step, batch, times)` for each batch of the first four epochs,
/// of which the first also represents all that follow, and for each batch of the last epoch where
/// that ends early: at most five epochs of calls, however many steps there are.
///
/// ```
/// let loader = |cursor| data::Loader::new(10, 4, 1, cursor);
/// let (mut calls, mut steps) = (0, 0);
/// planning::visit_batches(3_000_001, loader, |_, batch, times| {
///     assert!(batch.len() <= 4);
///     calls += 1;
///     steps += times;
/// });
/// assert_eq!((calls, steps), (4 * 3 + 1, 3_000_001));
/// ```
pub fn visit_batches(
    steps: usize,
    loader: impl Fn(Cursor) -> Loader,
    mut visit: impl FnMut(usize, &[usize], usize),
) {
    let per_epoch = loader(Cursor::default()).batches_per_epoch().max(1);
    let (complete, left) = (steps / per_epoch, steps % per_epoch);
    let walked = complete.min(WALKED_EPOCHS);
    let whole = (0..walked).map(|epoch| match epoch {
        0 => (epoch, per_epoch, complete - walked + 1),
        _ => (epoch, per_epoch, 1),
    });
    for (epoch, batches, times) in whole.chain([(complete, left, 1)]) {
        let mut loader = loader(Cursor { epoch, index: 0 });
        for i in 0..batches {
            visit(epoch * per_epoch + i, &loader.next_batch(), times);
        }
    }
}
