//! The layout of a ragged batch: where each sequence begins among N concatenated tokens, and which
//! earlier sequence it continues. Samples of one prompt share the tokens of the prompt, which are
//! computed once for all of them.

use std::ops::Range;

/// B sequences over N tokens. Lengths are integers carried with the ids, never inferred from a pad
/// id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ragged {
    offsets: Vec<usize>,
    /// The sequence that each one continues; empty if none does.
    parents: Vec<Option<usize>>,
}

impl Ragged {
    /// The layout of sequences with these lengths, in this order. A length of zero is allowed.
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

    /// The same, where sequence i continues the earlier sequence `parents[i]`: its tokens see all
    /// tokens of the parent and have the positions after them. A parent continues nothing itself.
    ///
    /// # Panics
    /// If a parent is not an earlier sequence without a parent.
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

    /// N.
    pub fn n_tokens(&self) -> usize {
        *self.offsets.last().expect("offsets are never empty")
    }

    /// B.
    pub fn n_seqs(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Tokens of one sequence, without the one that it continues.
    pub fn len(&self, seq: usize) -> usize {
        self.offsets[seq + 1] - self.offsets[seq]
    }

    /// Whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.n_tokens() == 0
    }

    /// The token rows of one sequence.
    pub fn range(&self, seq: usize) -> Range<usize> {
        self.offsets[seq]..self.offsets[seq + 1]
    }

    /// The token rows of each sequence.
    pub fn ranges(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.offsets.windows(2).map(|w| w[0]..w[1])
    }

    /// Tokens of each sequence.
    pub fn lens(&self) -> Vec<usize> {
        self.offsets.windows(2).map(|w| w[1] - w[0]).collect()
    }

    /// The sequence that this one continues.
    pub fn parent(&self, seq: usize) -> Option<usize> {
        self.parents.get(seq).copied().flatten()
    }

    /// The token rows of the sequence that this one continues; empty if it continues none.
    pub fn prefix(&self, seq: usize) -> Range<usize> {
        match self.parents.get(seq) {
            Some(Some(parent)) => self.range(*parent),
            _ => 0..0,
        }
    }

    /// Tokens that the last token of each sequence sees: those of the parent and its own.
    pub fn contexts(&self) -> Vec<usize> {
        (0..self.n_seqs())
            .map(|seq| self.prefix(seq).len() + self.len(seq))
            .collect()
    }

    /// The position of each token: 0, 1, 2, … within a sequence, after the positions of its parent.
    pub fn positions(&self) -> Vec<u32> {
        (0..self.n_seqs())
            .flat_map(|seq| {
                let first = self.prefix(seq).len();
                (first..first + self.len(seq)).map(|p| p as u32)
            })
            .collect()
    }

    /// Each sequence without a parent, with those that continue it, in order.
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

/// Cuts `0..lens.len()` into runs of at most `max_tokens` tokens; a longer item is a run of its
/// own.
pub fn micro_batches(lens: &[usize], max_tokens: usize) -> Vec<Range<usize>> {
    micro_batches_by(lens.len(), max_tokens, |i, _| lens[i])
}

/// [`micro_batches`] of `n` items whose token counts depend on their place: `tokens(i, true)` if
/// item i begins a run, `tokens(i, false)` if it follows item i − 1.
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
