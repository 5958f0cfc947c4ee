//! The resumable order in which rows are visited. Holds indices, not data.

use crate::Mixture;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

/// A position in the data; checkpoints save it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Passes over the data completed.
    pub epoch: usize,
    /// Visits of this epoch already returned.
    pub index: usize,
}

/// Endless batches of indices: the visits of each epoch of a mixture, in an order from the random
/// stream (seed, "shuffle", epoch).
///
/// ```
/// use data::{Cursor, Loader, Mixture};
/// let rows = Mixture::of_rows(5);
/// let mut loader = Loader::new(&rows, 2, 1, Cursor::default());
/// let first = loader.next_batch();
/// let cursor = loader.cursor();
/// let second = loader.next_batch();
/// assert_eq!((first.len(), second.len()), (2, 2));
/// // A loader made from the cursor continues where the first one was.
/// assert_eq!(Loader::new(&rows, 2, 1, cursor).next_batch(), second);
/// ```
pub struct Loader {
    mixture: Mixture,
    batch: usize,
    seed: u64,
    cursor: Cursor,
    /// The visits of `cursor.epoch`.
    order: Vec<usize>,
}

impl Loader {
    /// A loader of batches of `batch` rows of the mixture, from `cursor` on.
    pub fn new(mixture: &Mixture, batch: usize, seed: u64, cursor: Cursor) -> Self {
        let order = visits(mixture, seed, cursor.epoch);
        Self {
            mixture: mixture.clone(),
            batch: batch.max(1),
            seed,
            cursor,
            order,
        }
    }

    /// The next `batch` indices, or fewer at the end of an epoch. Empty only without rows.
    pub fn next_batch(&mut self) -> Vec<usize> {
        if self.cursor.index >= self.order.len() {
            self.cursor = Cursor {
                epoch: self.cursor.epoch + 1,
                index: 0,
            };
            self.order = visits(&self.mixture, self.seed, self.cursor.epoch);
        }
        let start = self.cursor.index;
        self.cursor.index = (start + self.batch).min(self.order.len());
        self.order[start..self.cursor.index].to_vec()
    }

    /// The position from which a new loader continues.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Batches in one pass over the data.
    pub fn batches_per_epoch(&self) -> usize {
        self.order.len().div_ceil(self.batch)
    }
}

fn visits(mixture: &Mixture, seed: u64, epoch: usize) -> Vec<usize> {
    let mut order = mixture.epoch(seed, epoch);
    order.shuffle(&mut run::stream(seed, "shuffle", epoch as u64, 0));
    order
}
