//! The resumable order of a pass over the data. Holds indices, not data.

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

/// Where a pass over the data stands; saved in checkpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    pub epoch: usize,
    /// Items of this epoch already given.
    pub index: usize,
}

/// Endless batches of indices: a fresh permutation per epoch from the stream (seed, "shuffle", epoch).
pub struct Loader {
    n_items: usize,
    batch: usize,
    seed: u64,
    cursor: Cursor,
    /// The permutation of `cursor.epoch`.
    order: Vec<usize>,
}

impl Loader {
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

    /// Up to `batch` indices; a batch never crosses an epoch's end. Empty only when there are no items.
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

    /// What a loader that continues here is made from.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    pub fn batches_per_epoch(&self) -> usize {
        self.n_items.div_ceil(self.batch)
    }
}

fn permutation(n: usize, seed: u64, epoch: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    order.shuffle(&mut run::stream(seed, "shuffle", epoch as u64, 0));
    order
}
