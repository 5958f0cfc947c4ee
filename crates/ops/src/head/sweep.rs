//! The sweep over the vocabulary that scores, their gradient and comparisons share: every logit
//! once, tile by tile.
//!
//! The vocabulary is cut into tiles of head rows and the tiles into one run per thread. A thread
//! multiplies every row of hidden states by its tiles and folds the logits into an accumulator; the
//! caller merges the accumulators in the order of the runs.

use crate::Compute;
use crate::elements::Elements;
use crate::int16::{self, Left};
use crate::linear::slices::linear_into;
use crate::product::{Mat, Threads};
use crate::skinny;
use rayon::prelude::*;
use std::ops::Range;

/// Head rows of a tile.
const TILE: usize = 512;
/// Hidden rows that are multiplied by a tile at a time, so that their logits stay in the cache.
const ROWS: usize = 256;

/// The logits of some `rows` of S models' hidden states against one `tile` of the vocabulary,
/// [rows, tile] each.
pub(super) struct LogitTile<'a, const S: usize> {
    pub rows: Range<usize>,
    pub tile: Range<usize>,
    pub logits: [&'a mut [f32]; S],
}

/// `hidden` S times [M, d], `head` [V, d]. The accumulators of the runs, in order.
pub(super) fn sweep<const S: usize, Acc: Send>(
    compute: Compute,
    hidden: [&[f32]; S],
    head: Elements,
    d: usize,
    begin: impl Fn() -> Acc + Sync,
    fold: impl Fn(&mut Acc, LogitTile<S>) + Sync,
) -> Vec<Acc> {
    let m = hidden[0].len() / d;
    let left = hidden.map(|hidden| match compute {
        Compute::Int16 if !skinny::suits(m, head) => Some(Left::new(hidden, d, Threads::All)),
        _ => None,
    });
    runs(head.len() / d)
        .into_par_iter()
        .map(|run| {
            let mut acc = begin();
            let mut buffers = hidden.map(|_| vec![0.0; ROWS.min(m) * TILE.min(run.len())]);
            for tile in pieces(run, TILE) {
                let w = head.part(tile.start * d..tile.end * d);
                for rows in pieces(0..m, ROWS) {
                    let n = rows.len() * tile.len();
                    let mut logits = buffers.each_mut().map(|buffer| &mut buffer[..n]);
                    for ((hidden, left), logits) in hidden.iter().zip(&left).zip(&mut logits) {
                        if let Some(left) = left {
                            let right = (Mat::of(w, d).t(), tile.len());
                            let rows = (left, rows.clone());
                            int16::product(rows, right, logits, false, &[], Threads::One);
                        } else {
                            let x = &hidden[rows.start * d..rows.end * d];
                            linear_into(x, w, d, logits, Threads::One);
                        }
                    }
                    let tile = tile.clone();
                    fold(&mut acc, LogitTile { rows, tile, logits });
                }
            }
            acc
        })
        .collect()
}

/// The runs of tiles, one per thread: ranges of vocabulary rows.
fn runs(vocab: usize) -> Vec<Range<usize>> {
    let tiles = vocab.div_ceil(TILE);
    let each = tiles.div_ceil(rayon::current_num_threads().max(1)).max(1) * TILE;
    (0..vocab)
        .step_by(each)
        .map(|v| v..(v + each).min(vocab))
        .collect()
}

/// `range` in pieces of at most `size`.
fn pieces(range: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(size).map(move |i| i..(i + size).min(end))
}
