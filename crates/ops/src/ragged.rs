//! The layout of a ragged batch: where each sequence begins among N tokens that stand one after another, and which earlier
//! sequence it goes on from. Samples of one prompt share the prompt's tokens, which are computed once for all of them.

use std::ops::Range;

/// B sequences over N tokens. Lengths are integers carried with the ids; nothing is ever read off a pad id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ragged {
    offsets: Vec<usize>,
    /// The sequence that each one continues; empty where none does.
    parents: Vec<Option<usize>>,
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
        Self {
            offsets,
            parents: Vec::new(),
        }
    }

    /// The same, where sequence i goes on from the earlier sequence `parents[i]`: its tokens see all of that one's and stand
    /// at the positions after them. A parent continues nothing itself.
    ///
    /// # Panics
    /// When a parent is not an earlier sequence without one.
    pub fn continued(lens: &[usize], parents: Vec<Option<usize>>) -> Self {
        assert_eq!(lens.len(), parents.len(), "one parent or none per sequence");
        for (i, parent) in parents.iter().enumerate() {
            if let Some(p) = parent {
                assert!(
                    *p < i && parents[*p].is_none(),
                    "sequence {i} cannot continue {p}"
                );
            }
        }
        Self {
            parents,
            ..Self::from_lens(lens)
        }
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

    /// The token rows of the sequence that this one continues; none: an empty range.
    pub fn prefix(&self, seq: usize) -> Range<usize> {
        match self.parents.get(seq) {
            Some(Some(parent)) => self.range(*parent),
            _ => 0..0,
        }
    }

    /// How many tokens each sequence sees at its end: what it continues, and its own.
    pub fn contexts(&self) -> Vec<usize> {
        (0..self.n_seqs())
            .map(|seq| self.prefix(seq).len() + self.len(seq))
            .collect()
    }

    /// 0, 1, 2, … within each sequence, after those of the one that it continues; one per token.
    pub fn positions(&self) -> Vec<u32> {
        (0..self.n_seqs())
            .flat_map(|seq| {
                let first = self.prefix(seq).len();
                (first..first + self.len(seq)).map(|p| p as u32)
            })
            .collect()
    }

    /// Each sequence that continues nothing, with those that continue it, in order.
    pub(crate) fn families(&self) -> Vec<Vec<usize>> {
        let mut own = vec![0; self.n_seqs()];
        let mut families: Vec<Vec<usize>> = Vec::new();
        for seq in 0..self.n_seqs() {
            match self.parents.get(seq) {
                Some(Some(parent)) => families[own[*parent]].push(seq),
                _ => {
                    own[seq] = families.len();
                    families.push(vec![seq]);
                }
            }
        }
        families
    }
}

/// Cuts `0..lens.len()` into runs whose token sum stays within `max_tokens` (a longer one stands alone).
pub fn micro_batches(lens: &[usize], max_tokens: usize) -> Vec<Range<usize>> {
    micro_batches_by(lens.len(), max_tokens, |i, _| lens[i])
}

/// [`micro_batches`] of `n` items whose tokens depend on where they stand: `tokens(i, true)` of item i where it begins a run,
/// `tokens(i, false)` behind item i − 1.
pub fn micro_batches_by(
    n: usize,
    max_tokens: usize,
    tokens: impl Fn(usize, bool) -> usize,
) -> Vec<Range<usize>> {
    let mut out = Vec::new();
    let (mut start, mut sum) = (0, 0);
    for i in 0..n {
        let behind = tokens(i, i == start);
        if i > start && sum + behind > max_tokens {
            out.push(start..i);
            (start, sum) = (i, tokens(i, true));
        } else {
            sum += behind;
        }
    }
    if start < n {
        out.push(start..n);
    }
    out
}
