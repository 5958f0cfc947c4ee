//! Sequences side by side for one forward, with a prompt that neighbours share only once. Samples
//! of one prompt, or the two answers of a pair, then cost its tokens once, forward and backward.
//! What each token sees is the same as if each sequence were alone.

use ops::Ragged;
use std::ops::Range;

/// Token ids, and how many of them are the prompt (0: it is not shared).
pub type Sequence<'a> = (&'a [u32], usize);

/// Token ids with their layout, and where each sequence's tokens are among them.
///
/// ```
/// // two answers to the prompt 1 2 3
/// let sequences: [models::Sequence; 2] = [(&[1, 2, 3, 7], 3), (&[1, 2, 3, 8, 9], 3)];
/// let packed = models::Packed::new(&sequences);
/// assert_eq!(packed.ids, [1, 2, 3, 7, 8, 9]);
/// assert_eq!((packed.row(1, 2), packed.row(1, 3)), (2, 4));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Packed {
    /// All tokens, a shared prompt once.
    pub ids: Vec<u32>,
    lens: Vec<usize>,
    parents: Vec<Option<usize>>,
    rows: Vec<SequenceRows>,
}

/// Where one sequence's rows are: the first `shared` tokens from `prompt` on, the others from `own`
/// on.
#[derive(Clone, Copy, Debug)]
struct SequenceRows {
    prompt: usize,
    shared: usize,
    own: usize,
}

impl Packed {
    /// Packs sequences in their order. Only neighbours share a prompt.
    pub fn new(sequences: &[Sequence]) -> Self {
        let mut packed = Self::default();
        for group in sequences.chunk_by(same_prompt) {
            let (prompt, shared) = (packed.ids.len(), group[0].1);
            let parent = packed.lens.len();
            let several = group.len() > 1;
            if several {
                packed.segment(&group[0].0[..shared], None);
            }
            for (ids, _) in group {
                let shared = if several { shared } else { 0 };
                packed.rows.push(SequenceRows {
                    prompt,
                    shared,
                    own: packed.ids.len(),
                });
                packed.segment(&ids[shared..], several.then_some(parent));
            }
        }
        packed
    }

    fn segment(&mut self, ids: &[u32], parent: Option<usize>) {
        self.ids.extend_from_slice(ids);
        self.lens.push(ids.len());
        self.parents.push(parent);
    }

    /// Which rows each token sees.
    pub fn layout(&self) -> Ragged {
        Ragged::continued(&self.lens, self.parents.clone())
    }

    /// The row of token `at` of sequence `seq` among the ids.
    pub fn row(&self, seq: usize, at: usize) -> usize {
        let rows = self.rows[seq];
        match at < rows.shared {
            true => rows.prompt + at,
            false => rows.own + at - rows.shared,
        }
    }
}

fn same_prompt(a: &Sequence, b: &Sequence) -> bool {
    let n = a.1;
    n > 0 && n == b.1 && a.0.len() >= n && b.0.starts_with(&a.0[..n])
}

/// Cuts `0..units.len()` into runs whose packed tokens stay within `max_tokens`; a larger unit is a
/// run of its own. The sequences of a unit stay together.
pub fn micro_batches(units: &[Vec<Sequence>], max_tokens: usize) -> Vec<Range<usize>> {
    ops::micro_batches_by(units.len(), max_tokens, |i, first| {
        let before = if first { &[] } else { &units[..i] };
        let last = before.iter().rev().find_map(|unit| unit.last());
        packed_tokens(last.copied(), &units[i])
    })
}

/// Tokens that these sequences add after `last`.
fn packed_tokens<'a>(mut last: Option<Sequence<'a>>, sequences: &[Sequence<'a>]) -> usize {
    let mut sum = 0;
    for seq in sequences {
        let shares = last.is_some_and(|last| same_prompt(&last, seq));
        sum += seq.0.len() - if shares { seq.1 } else { 0 };
        last = Some(*seq);
    }
    sum
}
