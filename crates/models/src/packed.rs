//! Sequences side by side for one forward, a prompt that neighbours share only once: samples of a prompt, or the two answers
//! of a pair, then cost its tokens once, forward and backward. What each token sees is the same as if they stood alone.

use ops::Ragged;
use std::ops::Range;

/// Token ids, and how many of them are the prompt (0: shares with nobody).
pub type Sequence<'a> = (&'a [u32], usize);

/// Token ids with their layout, and where each sequence's tokens are among them.
#[derive(Clone, Debug, Default)]
pub struct Packed {
    pub ids: Vec<u32>,
    lens: Vec<usize>,
    parents: Vec<Option<usize>>,
    places: Vec<Place>,
}

/// Rows of one sequence: the first `shared` tokens from `prompt` on, the others from `own` on.
#[derive(Clone, Copy, Debug)]
struct Place {
    prompt: usize,
    shared: usize,
    own: usize,
}

impl Packed {
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
                packed.places.push(Place {
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

    pub fn layout(&self) -> Ragged {
        Ragged::continued(&self.lens, self.parents.clone())
    }

    /// The row of token `at` of sequence `seq` among the ids.
    pub fn row(&self, seq: usize, at: usize) -> usize {
        let place = self.places[seq];
        match at < place.shared {
            true => place.prompt + at,
            false => place.own + at - place.shared,
        }
    }
}

fn same_prompt(a: &Sequence, b: &Sequence) -> bool {
    let n = a.1;
    n > 0 && n == b.1 && a.0.len() >= n && b.0.starts_with(&a.0[..n])
}

/// Cuts `0..units.len()` into runs whose packed tokens stay within `max_tokens` (a larger unit stands alone). The sequences
/// of a unit stay together.
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
