//! Sizes of the forwards of a run. Its batches are a function of the seed, so planning walks them
//! by their sizes: the first epochs, of which one represents those that follow.

use data::{Cursor, Loader};

/// The tokens of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowSize {
    /// What tells its prompt from others, and the prompt's tokens (0: shared with no other row)
    pub prompt: (u64, usize),
    pub response: usize,
}

/// The size of one forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forward {
    pub tokens: usize,
    /// Pairs of a token and one that its sequence reads, masked or not
    pub pairs: usize,
}

/// The forwards with a graph of a whole run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Batches {
    /// Tokens of all forwards
    pub tokens: u64,
    pub largest: Forward,
}

impl RowSize {
    /// A row that shares its prompt with no other.
    pub fn alone(tokens: usize) -> Self {
        Self {
            prompt: (0, 0),
            response: tokens,
        }
    }

    pub fn tokens(&self) -> usize {
        self.prompt.1 + self.response
    }
}

impl Forward {
    /// Rows side by side, of which neighbours share their prompt, as in [`models::Packed`].
    ///
    /// ```
    /// let row = |prompt, response| planning::RowSize { prompt, response };
    /// let pair = planning::Forward::packed(&[row((1, 10), 4), row((1, 10), 6)]);
    /// assert_eq!((pair.tokens, pair.pairs), (20, 10 * 10 + 4 * 14 + 6 * 16));
    /// ```
    pub fn packed(rows: &[RowSize]) -> Self {
        let of = |tokens: usize, reads: usize| Self {
            tokens,
            pairs: tokens * reads,
        };
        let group = |rows: &[RowSize]| match rows {
            [row] => of(row.tokens(), row.tokens()),
            _ => {
                let prompt = rows[0].prompt.1;
                let responses = rows.iter().map(|row| of(row.response, row.tokens()));
                responses.chain([of(prompt, prompt)]).sum()
            }
        };
        let shares = |a: &RowSize, b: &RowSize| a.prompt.1 > 0 && a.prompt == b.prompt;
        rows.chunk_by(shares).map(group).sum()
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

impl Batches {
    /// Adds a forward that the run makes `times` times.
    pub fn add(&mut self, forward: Forward, times: usize) {
        let tokens = (forward.tokens as u64).saturating_mul(times as u64);
        self.tokens = self.tokens.saturating_add(tokens);
        self.largest.tokens = self.largest.tokens.max(forward.tokens);
        self.largest.pairs = self.largest.pairs.max(forward.pairs);
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
    let (mut counted, mut held): (Vec<usize>, Vec<usize>) = items.iter().copied().unzip();
    counted.sort_unstable();
    held.sort_unstable_by(|a, b| b.cmp(a));
    let least = counted.iter().take(batch_size).scan(0, |sum, count| {
        *sum += count;
        Some(*sum)
    });
    let fit = least.take_while(|sum| *sum <= limit).count();
    let together: usize = held.iter().take(fit).sum();
    let density = |(count, held): &(usize, usize)| *held as f64 / (*count).max(1) as f64;
    let densest = items.iter().map(density).fold(0.0, f64::max);
    let longest = held.first().copied().unwrap_or(0);
    longest.max(together.min((limit as f64 * densest).ceil() as usize))
}

/// Complete epochs that are walked. Runs of up to so many are planned from their own batches; of
/// longer runs the largest forward is bounded by all that the rows could make.
const WALKED_EPOCHS: usize = 4;

/// Walks the batches of a run of `steps` steps that passes over its rows in epochs; `loader` opens
/// the run's own loader. Calls `visit(step, batch, times)` for each batch of the first four epochs,
/// of which the first also represents all that follow, and for each batch of the last epoch where
/// that ends early: at most five epochs of calls, however many steps there are. Returns whether
/// some epochs were not walked.
///
/// ```
/// let loader = |cursor| data::Loader::new(10, 4, 1, cursor);
/// let (mut calls, mut steps) = (0, 0);
/// assert!(planning::visit_batches(3_000_001, loader, |_, batch, times| {
///     assert!(batch.len() <= 4);
///     calls += 1;
///     steps += times;
/// }));
/// assert_eq!((calls, steps), (4 * 3 + 1, 3_000_001));
/// ```
pub fn visit_batches(
    steps: usize,
    loader: impl Fn(Cursor) -> Loader,
    mut visit: impl FnMut(usize, &[usize], usize),
) -> bool {
    let per_epoch = loader(Cursor::default()).batches_per_epoch().max(1);
    let (complete, left) = (steps / per_epoch, steps % per_epoch);
    let skipped = complete.saturating_sub(WALKED_EPOCHS);
    for epoch in (0..complete.min(WALKED_EPOCHS)).chain([complete]) {
        let batches = if epoch == complete { left } else { per_epoch };
        let times = if epoch == 0 { 1 + skipped } else { 1 };
        let mut loader = loader(Cursor { epoch, index: 0 });
        for i in 0..batches {
            visit(epoch * per_epoch + i, &loader.next_batch(), times);
        }
    }
    skipped > 0
}
