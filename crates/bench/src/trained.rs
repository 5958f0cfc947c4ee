//! What a side trained on: its token ids and labels, counted and hashed.
//! scripts/bench/peers/common.py computes the same for a peer.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The label of a token that is not learnt, as in PyTorch.
const NOT_LEARNT: i32 = -100;

/// Token ids with a label for each: the id itself if it is learnt, else -100.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sequence {
    pub ids: Vec<u32>,
    pub labels: Vec<i32>,
}

impl Sequence {
    /// The ids of the ranges `learnt` are learnt.
    pub fn new(ids: Vec<u32>, learnt: &[Range<usize>]) -> Self {
        let label = |(at, id): (usize, &u32)| match learnt.iter().any(|range| range.contains(&at)) {
            true => *id as i32,
            false => NOT_LEARNT,
        };
        let labels = ids.iter().enumerate().map(label).collect();
        Self { ids, labels }
    }

    fn n_learnt(&self) -> usize {
        let learnt = self.labels.iter().filter(|label| **label != NOT_LEARNT);
        learnt.count()
    }
}

/// The sequences of some steps, in the order in which they are trained.
///
/// ```
/// use bench::{Sequence, Trained};
/// let of = |ids: &[u32]| Trained::of(&[Sequence::new(ids.to_vec(), &[1..3])]);
/// assert_eq!((of(&[5, 6, 7]).tokens, of(&[5, 6, 7]).labels), (3, 2));
/// assert!(of(&[5, 6, 7]).require(&of(&[5, 6, 7])).is_ok());
/// assert!(of(&[5, 6, 7]).require(&of(&[5, 7, 6])).is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trained {
    pub sequences: usize,
    pub tokens: usize,
    /// Tokens that are learnt
    pub labels: usize,
    /// Of each sequence: its length (u32), its ids (u32) and its labels (i32), little-endian
    pub sha256: String,
}

impl Trained {
    pub fn of<'a>(sequences: impl IntoIterator<Item = &'a Sequence>) -> Self {
        let (mut n, mut tokens, mut labels, mut bytes) = (0, 0, 0, Vec::new());
        for sequence in sequences {
            n += 1;
            tokens += sequence.ids.len();
            labels += sequence.n_learnt();
            bytes.extend((sequence.ids.len() as u32).to_le_bytes());
            bytes.extend(sequence.ids.iter().flat_map(|id| id.to_le_bytes()));
            bytes.extend(sequence.labels.iter().flat_map(|label| label.to_le_bytes()));
        }
        Self {
            sequences: n,
            tokens,
            labels,
            sha256: run::hash(&bytes),
        }
    }

    /// Fails unless `theirs` is the same.
    pub fn require(&self, theirs: &Self) -> Result<()> {
        ensure!(
            self == theirs,
            "it trained on {theirs}, and our side on {self}; there is no ratio of different work"
        );
        Ok(())
    }
}

impl std::fmt::Display for Trained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} tokens, {} of them learnt (SHA-256 {}…)",
            self.tokens,
            self.labels,
            &self.sha256[..self.sha256.len().min(12)]
        )
    }
}
