//! `y = x · wᵀ` for few rows of x, as in decoding: w is read from memory once, in tiles of
//! registers, and is not packed.

use crate::cpu::Shared;
use crate::elements::{Element, Elements};
use crate::product::Threads;
use crate::simd::{Lanes, dispatch, get};
use half::bf16;
use rayon::prelude::*;
use std::cell::Cell;

/// Whether this is faster than the product that packs, which must also widen narrow weights first
/// (benches/ops/decode.rs).
pub(crate) fn suits(rows: usize, w: Elements) -> bool {
    match w {
        Elements::F32(_) => rows <= 24,
        Elements::Bf16(_) | Elements::Int8 { .. } | Elements::Quantised { .. } => rows <= 56,
    }
}

/// Elements of the weight below which more threads cost more than they save.
const ONE_THREAD: usize = 32 * 1024;

/// `x` [n, k], `w` [out, k], `y` [n, out].
pub(crate) fn linear(x: &[f32], w: Elements, k: usize, y: &mut [f32], threads: Threads) {
    let (n, out) = (x.len() / k, w.len() / k);
    assert!(y.len() >= n * out);
    in_parts(w, k, y, threads, |w, first, y| {
        columns(x, w, k, out, first, y);
    });
}

/// Calls `columns` with parts of the rows of `w`, the number of the first of them, and `y`, whose
/// columns belong to the rows.
pub(crate) fn in_parts(
    w: Elements,
    k: usize,
    y: &mut [f32],
    threads: Threads,
    columns: impl Fn(Elements, usize, Shared) + Sync,
) {
    let (out, y) = (w.len() / k, Shared::new(y));
    let each = match threads {
        Threads::All if w.len() > ONE_THREAD => {
            let tasks = (rayon::current_num_threads() * 4).min(w.len() / (ONE_THREAD / 2));
            out.div_ceil(tasks).next_multiple_of(4)
        }
        _ => out,
    };
    if out <= each {
        return columns(w, 0, y);
    }
    (0..out.div_ceil(each)).into_par_iter().for_each(|i| {
        let rows = i * each..(i * each + each).min(out);
        columns(w.part(rows.start * k..rows.end * k), rows.start, y)
    });
}

/// `y = x · wᵀ` of f32 on the calling thread.
pub(crate) fn linear_one_thread(x: &[f32], w: &[f32], k: usize, y: &mut [f32]) {
    linear(x, Elements::F32(w), k, y, Threads::One);
}

/// Fills the columns of y that belong to the weight rows `w`, from column `first` on; y has rows of
/// `stride`.
#[inline(always)]
unsafe fn columns_kernel<L: Lanes>(
    x: &[f32],
    w: Elements,
    k: usize,
    stride: usize,
    first: usize,
    y: Shared,
) {
    // SAFETY: the caller is inside a `dispatch!` function and owns these columns of y.
    unsafe {
        match w {
            Elements::F32(w) => columns_of::<L, f32>(x, w, k, stride, first, y),
            Elements::Bf16(w) => columns_of::<L, bf16>(x, w, k, stride, first, y),
            Elements::Int8 { data, .. } => {
                let w = std::slice::from_raw_parts(data.as_ptr().cast::<i8>(), data.len());
                columns_of::<L, i8>(x, w, k, stride, first, y)
            }
            Elements::Quantised { .. } => {
                let mut wide = WIDE.take();
                wide.resize(TILE_ROWS * k, 0.0);
                for row in (0..w.len() / k).step_by(TILE_ROWS) {
                    let wide = &mut wide[..TILE_ROWS.min(w.len() / k - row) * k];
                    w.widen::<L>(row * k, wide);
                    columns_of::<L, f32>(x, wide, k, stride, first + row, y);
                }
                WIDE.set(wide);
            }
        }
    }
}

// The dequantised rows of one tile, which stay in the cache while all rows of x are multiplied by
// them.
thread_local!(static WIDE: Cell<Vec<f32>> = const { Cell::new(Vec::new()) });

dispatch!(pub(crate) fn columns = columns_kernel(x: &[f32], w: Elements, k: usize, stride: usize, first: usize, y: Shared));

#[inline(always)]
unsafe fn columns_of<L: Lanes, E: Element>(
    x: &[f32],
    w: &[E],
    k: usize,
    stride: usize,
    first: usize,
    y: Shared,
) {
    let step = k + E::SCALE;
    let (n, rows) = (x.len() / k, w.len() / step);
    // as many rows of x as keep the sums in registers: 32 of them, or 16
    let broad = if L::N == 16 { 6 } else { 2 };
    let tiled = if k.is_multiple_of(L::N) {
        rows / TILE_ROWS * TILE_ROWS
    } else {
        0
    };
    for col in (0..tiled).step_by(TILE_ROWS) {
        let w = &w[col * step..(col + TILE_ROWS) * step];
        let mut row = 0;
        while row < n {
            // equal tiles: 5 rows are 3 + 2, not 4 + 1
            let left = n - row;
            let height = left.div_ceil(left.div_ceil(broad));
            let x = &x[row * k..(row + height) * k];
            let at = row * stride + first + col;
            // SAFETY: the caller is inside a `dispatch!` function and owns these columns of y.
            unsafe {
                match (height, row) {
                    (1, 0) => tile::<L, E, 1, true>(x, w, k, y, at, stride),
                    (2, 0) => tile::<L, E, 2, true>(x, w, k, y, at, stride),
                    (3, 0) => tile::<L, E, 3, true>(x, w, k, y, at, stride),
                    (4, 0) => tile::<L, E, 4, true>(x, w, k, y, at, stride),
                    (5, 0) => tile::<L, E, 5, true>(x, w, k, y, at, stride),
                    (_, 0) => tile::<L, E, 6, true>(x, w, k, y, at, stride),
                    (1, _) => tile::<L, E, 1, false>(x, w, k, y, at, stride),
                    (2, _) => tile::<L, E, 2, false>(x, w, k, y, at, stride),
                    (3, _) => tile::<L, E, 3, false>(x, w, k, y, at, stride),
                    (4, _) => tile::<L, E, 4, false>(x, w, k, y, at, stride),
                    (5, _) => tile::<L, E, 5, false>(x, w, k, y, at, stride),
                    _ => tile::<L, E, 6, false>(x, w, k, y, at, stride),
                }
            }
            row += height;
        }
    }
    for col in tiled..rows {
        let w = &w[col * step..(col + 1) * step];
        for (row, x) in x.chunks_exact(k).enumerate() {
            let at = row * stride + first + col;
            // SAFETY: as above.
            unsafe { y.part(at..at + 1)[0] = dot::<L, E>(x, w) };
        }
    }
}

/// Weight rows of a tile.
const TILE_ROWS: usize = 4;

#[inline(always)]
unsafe fn dot<L: Lanes, E: Element>(x: &[f32], w: &[E]) -> f32 {
    // SAFETY: the caller is inside a `dispatch!` function.
    unsafe {
        let (mut sum, whole) = (L::splat(0.0), x.len() / L::N * L::N);
        for i in (0..whole).step_by(L::N) {
            sum = get::<L>(x, i, 0.0).fma(E::load(w[i..].as_ptr()), sum);
        }
        let rest = x[whole..].iter().zip(&w[whole..]);
        let sum = rest.fold(sum.sum(), |sum, (x, w)| sum + x * w.to_f32());
        sum * E::scale(w.as_ptr().add(x.len()))
    }
}

/// C rows of x times four rows of w; k is a multiple of the lanes. `FIRST`: prefetch the next four
/// rows of w.
#[inline(always)]
unsafe fn tile<L: Lanes, E: Element, const C: usize, const FIRST: bool>(
    x: &[f32],
    w: &[E],
    k: usize,
    y: Shared,
    at: usize,
    stride: usize,
) {
    let step = k + E::SCALE;
    assert!(x.len() == C * k && w.len() == TILE_ROWS * step && k.is_multiple_of(L::N));
    // SAFETY: the loads stay below k in each row; the caller owns the written columns.
    unsafe {
        let mut sums = [[L::splat(0.0); TILE_ROWS]; C];
        let (mut xp, mut wp) = (x.as_ptr(), w.as_ptr());
        let end = wp.add(k);
        while wp < end {
            let mut ws = [L::splat(0.0); TILE_ROWS];
            for j in 0..TILE_ROWS {
                ws[j] = E::load(wp.wrapping_add(j * step));
                if FIRST {
                    L::prefetch(wp.wrapping_add((TILE_ROWS + j) * step).cast());
                }
            }
            for i in 0..C {
                let x = L::load(xp.wrapping_add(i * k));
                for j in 0..TILE_ROWS {
                    sums[i][j] = x.fma(ws[j], sums[i][j]);
                }
            }
            (xp, wp) = (xp.wrapping_add(L::N), wp.wrapping_add(L::N));
        }
        for i in 0..C {
            let y = y.part(at + i * stride..at + i * stride + TILE_ROWS);
            y.copy_from_slice(&L::sum4(sums[i]));
            if E::SCALE > 0 {
                for (j, y) in y.iter_mut().enumerate() {
                    *y *= E::scale(w.as_ptr().add(j * step + k));
                }
            }
        }
    }
}
