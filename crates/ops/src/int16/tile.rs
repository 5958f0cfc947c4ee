//! A panel of the right factor times rows of the left, in tiles of registers.

use super::left::Left;
use super::pack::{Buffers, pack};
use super::pairs::{Pairs, dispatch_pairs};
use super::sizes::DEPTH;
use crate::product::{Mat, Output};
use crate::simd::{Lanes, get, put};
use std::ops::Range;

/// Adds a block of the depth to `rows` and `columns` of the product; `output` begins at the first
/// of both.
pub(super) fn block(
    (left, rows): (&Left, Range<usize>),
    right: Mat,
    block: usize,
    columns: Range<usize>,
    buffers: &mut Buffers,
    output: Output,
) {
    assert!(rows.end <= left.rows());
    // SAFETY: the sizes were checked by `product`; the caller owns this part of the output.
    unsafe { panel((left, rows), right, block, columns, buffers, output) }
}

#[inline(always)]
unsafe fn panel_kernel<P: Pairs>(
    (left, rows): (&Left, Range<usize>),
    right: Mat,
    block: usize,
    columns: Range<usize>,
    buffers: &mut Buffers,
    output: Output,
) {
    // SAFETY: the caller is inside a `dispatch_pairs!` function.
    unsafe {
        let broad = columns.len().div_ceil(P::F::N);
        let depth = block * DEPTH..(block * DEPTH + DEPTH).min(left.width());
        pack::<P>(right, depth, columns.clone(), broad * P::F::N, buffers);
        let tall = if P::F::N == 16 { 8 } else { 4 };
        let mut row = rows.start;
        while row < rows.end {
            let tile = Tile {
                a: left.integers(row, block),
                a_scales: left.scales(row, block),
                b: buffers.panel.as_ptr(),
                b_scales: buffers.scales.as_ptr(),
                pairs: left.pairs(block),
                output: Output {
                    at: output.at + (row - rows.start) * output.stride,
                    ..output
                },
                width: columns.len(),
            };
            row += match ((rows.end - row).min(tall), broad) {
                (8, 3) => tile.run::<P, 8, 3>(),
                (8, 2) => tile.run::<P, 8, 2>(),
                (8, _) => tile.run::<P, 8, 1>(),
                (4..8, 3) => tile.run::<P, 4, 3>(),
                (4..8, 2) => tile.run::<P, 4, 2>(),
                (4..8, _) => tile.run::<P, 4, 1>(),
                (2..4, 3) => tile.run::<P, 2, 3>(),
                (2..4, 2) => tile.run::<P, 2, 2>(),
                (2..4, _) => tile.run::<P, 2, 1>(),
                (_, 3) => tile.run::<P, 1, 3>(),
                (_, 2) => tile.run::<P, 1, 2>(),
                (_, _) => tile.run::<P, 1, 1>(),
            };
        }
    }
}
dispatch_pairs!(unsafe fn panel = panel_kernel(left: (&Left, Range<usize>), right: Mat, block: usize, columns: Range<usize>, buffers: &mut Buffers, output: Output));

/// A few rows of the left factor times a packed panel. Pointers come with the step from row to row.
struct Tile {
    a: (*const i16, usize),
    a_scales: (*const f32, usize),
    b: *const i32,
    b_scales: *const f32,
    pairs: usize,
    output: Output,
    /// Columns of the output, at most V vectors
    width: usize,
}

impl Tile {
    /// Computes R rows by V vectors. Returns R.
    #[inline(always)]
    unsafe fn run<P: Pairs, const R: usize, const V: usize>(self) -> usize {
        // SAFETY: the left factor has R rows and the panel `pairs` rows; the caller owns the
        // written part of the output.
        unsafe {
            // index loops without closures, and sums without checks for overflow, keep the sums in
            // registers
            let mut sums = [[P::zero(); V]; R];
            let (mut a, mut b) = (self.a.0, self.b);
            for _ in 0..self.pairs {
                let mut row = [P::zero(); V];
                for v in 0..V {
                    row[v] = P::load(b.add(v * P::F::N));
                }
                for i in 0..R {
                    let x = a
                        .wrapping_add(i.wrapping_mul(self.a.1))
                        .cast::<i32>()
                        .read_unaligned();
                    let x = P::splat(x);
                    for v in 0..V {
                        sums[i][v] = sums[i][v].dot(x, row[v]);
                    }
                }
                (a, b) = (a.wrapping_add(2), b.add(V * P::F::N));
            }
            let mut b_scales = [P::F::splat(0.0); V];
            for v in 0..V {
                b_scales[v] = P::F::load(self.b_scales.add(v * P::F::N));
            }
            for i in 0..R {
                let scale = P::F::splat(*self.a_scales.0.add(i * self.a_scales.1));
                let start = self.output.at + i * self.output.stride;
                let out = self.output.data.part(start..start + self.width);
                for v in 0..V {
                    let sum = sums[i][v].to_f32().mul(b_scales[v]);
                    let old = match self.output.keep {
                        true => get(out, v * P::F::N, 0.0),
                        false => P::F::splat(0.0),
                    };
                    put(out, v * P::F::N, sum.fma(scale, old));
                }
            }
            R
        }
    }
}
