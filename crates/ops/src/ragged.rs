//! The layout of a ragged batch: where each sequence begins among N tokens that stand one after another.

use std::ops::Range;

/// B sequences over N tokens. Lengths are integers carried with the ids; nothing is ever read off a pad id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ragged {
    offsets: Vec<usize>,
}

impl Ragged {
    /// The layout of sequences with these lengths, in this order. A length of zero is allowed and owns no token.
    pub fn from_lens(lens: &[usize]) -> Self {
        let mut offsets = Vec::with_capacity(lens.len() + 1);
        offsets.push(0);
        let mut end = 0;
        for len in lens {
            end += len;
            offsets.push(end);
        }
        Self { offsets }
    }

    pub fn n_tokens(&self) -> usize {
        *self.offsets.last().expect("offsets are never empty")
    }

    pub fn n_seqs(&self) -> usize {
        self.offsets.len() - 1
    }

    pub fn len(&self, seq: usize) -> usize {
        self.offsets[seq + 1] - self.offsets[seq]
    }

    pub fn is_empty(&self) -> bool {
        self.n_tokens() == 0
    }

    /// The token rows of one sequence.
    pub fn range(&self, seq: usize) -> Range<usize> {
        self.offsets[seq]..self.offsets[seq + 1]
    }

    pub fn ranges(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.offsets.windows(2).map(|w| w[0]..w[1])
    }

    pub fn lens(&self) -> Vec<usize> {
        self.offsets.windows(2).map(|w| w[1] - w[0]).collect()
    }

    /// 0, 1, 2, … within each sequence, one per token.
    pub fn positions(&self) -> Vec<u32> {
        self.ranges().flat_map(|r| 0..r.len() as u32).collect()
    }
}

/// Cuts `0..lens.len()` into runs whose token sum stays within `max_tokens` (a longer one stands alone).
pub fn micro_batches(lens: &[usize], max_tokens: usize) -> Vec<Range<usize>> {
    let mut out = Vec::new();
    let (mut start, mut sum) = (0, 0);
    for (i, &len) in lens.iter().enumerate() {
        if i > start && sum + len > max_tokens {
            out.push(start..i);
            (start, sum) = (i, 0);
        }
        sum += len;
    }
    if start < lens.len() {
        out.push(start..lens.len());
    }
    out
}
