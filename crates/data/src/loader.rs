//! The resumable order in which rows are visited. Holds indices, not data.

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

/// A position in the data; checkpoints save it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Passes over the data completed.
    pub epoch: usize,
    /// Items of this epoch already returned.
    pub index: usize,
}

/// Endless batches of indices, with a new permutation per epoch from the random stream
/// (seed, "shuffle", epoch).
///
/// ```
/// use data::{Cursor, Loader};
/// let mut loader = Loader::new(5, 2, 1, Cursor::default());
/// let first = loader.next_batch();
/// let cursor = loader.cursor();
/// let second = loader.next_batch();
/// assert_eq!((first.len(), second.len()), (2, 2));
/// // A loader made from the cursor continues where the first one was.
/// assert_eq!(Loader::new(5, 2, 1, cursor).next_batch(), second);
/// ```
pub struct Loader {
    n_items: usize,
    batch: usize,
    seed: u64,
    cursor: Cursor,
    /// The permutation of `cursor.epoch`.
    order: Vec<usize>,
}

impl Loader {
    /// A loader of batches of `batch` indices below `n_items`, from `cursor` on.
    pub fn new(n_items: usize, batch: usize, seed: u64, cursor: Cursor) -> Self {
        let order = permutation(n_items, seed, cursor.epoch);
        Self {
            n_items,
            batch: batch.max(1),
            seed,
            cursor,
            order,
        }
    }

    /// The next `batch` indices, or fewer at the end of an epoch. Empty only without items.
    pub fn next_batch(&mut self) -> Vec<usize> {
        if self.cursor.index >= self.n_items {
            self.cursor = Cursor {
                epoch: self.cursor.epoch + 1,
                index: 0,
            };
            self.order = permutation(self.n_items, self.seed, self.cursor.epoch);
        }
        let start = self.cursor.index;
        self.cursor.index = (start + self.batch).min(self.n_items);
        self.order[start..self.cursor.index].to_vec()
    }

    /// The position from which a new loader continues.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Batches in one pass over the data.
    pub fn batches_per_epoch(&self) -> usize {
        self.n_items.div_ceil(self.batch)
    }
}

fn permutation(n: usize, seed: u64, epoch: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    order.shuffle(&mut run::stream(seed, "shuffle", epoch as u64, 0));
    order
}
