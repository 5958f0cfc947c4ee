//! `y = x · wᵀ` for few rows of x, as in decoding: w streams from memory once, in tiles of registers, and is not repacked.

use crate::cpu::{Shared, Threads};
use crate::simd::{Lanes, dispatch, get};
use rayon::prelude::*;

/// Up to how many rows this beats the blocked product (examples/bench.rs).
pub(crate) const MAX_ROWS: usize = 32;

/// Weights (elements) below which threads cost more than they bring.
const ALONE: usize = 32 * 1024;

/// `x` [n, k], `w` [out, k], `y` [n, out].
pub(crate) fn linear(x: &[f32], w: &[f32], k: usize, y: &mut [f32], threads: Threads) {
    let (n, out) = (x.len() / k, w.len() / k);
    assert!(y.len() >= n * out);
    let y = Shared::new(y);
    let each = match threads {
        Threads::All if w.len() > ALONE => {
            let tasks = (rayon::current_num_threads() * 4).min(w.len() / (ALONE / 2));
            out.div_ceil(tasks).next_multiple_of(4)
        }
        _ => out,
    };
    if out <= each {
        return columns(x, w, k, out, 0, y);
    }
    w.par_chunks(each * k)
        .enumerate()
        .for_each(|(i, w)| columns(x, w, k, out, i * each, y));
}

/// Fills the columns of y that the weight rows `w` make, from column `first` on; y has rows of `stride`.
#[inline(always)]
unsafe fn columns_kernel<L: Lanes>(
    x: &[f32],
    w: &[f32],
    k: usize,
    stride: usize,
    first: usize,
    y: Shared,
) {
    let (n, rows) = (x.len() / k, w.len() / k);
    let wide = L::N == 16; // 32 registers instead of 16
    let (tall, broad) = if wide { (4, 6) } else { (2, 4) };
    for col in (0..rows).step_by(tall) {
        let w = &w[col * k..(col + tall).min(rows) * k];
        let mut row = 0;
        while row < n {
            // equal tiles: 8 rows are 4 + 4, not 6 + 2
            let left = n - row;
            let tile = left.div_ceil(left.div_ceil(broad));
            let x = &x[row * k..(row + tile) * k];
            let at = row * stride + first + col;
            // SAFETY: the caller is inside a `dispatch!` function and owns these columns of y.
            unsafe {
                match (wide && w.len() == 4 * k, tile) {
                    (true, 1) => block::<L, 4, 1>(x, w, k, y, at, stride),
                    (true, 2) => block::<L, 4, 2>(x, w, k, y, at, stride),
                    (true, 3) => block::<L, 4, 3>(x, w, k, y, at, stride),
                    (true, 4) => block::<L, 4, 4>(x, w, k, y, at, stride),
                    (true, 5) => block::<L, 4, 5>(x, w, k, y, at, stride),
                    (true, 6) => block::<L, 4, 6>(x, w, k, y, at, stride),
                    (false, 4) if w.len() == 2 * k => block::<L, 2, 4>(x, w, k, y, at, stride),
                    _ => {
                        for (j, w) in w.chunks_exact(k).enumerate() {
                            for (i, x) in x.chunks_exact(k).enumerate() {
                                block::<L, 1, 1>(x, w, k, y, at + i * stride + j, stride);
                            }
                        }
                    }
                }
            }
            row += tile;
        }
    }
}
dispatch!(fn columns = columns_kernel(x: &[f32], w: &[f32], k: usize, stride: usize, first: usize, y: Shared));

/// C rows of x against R rows of w.
#[inline(always)]
unsafe fn block<L: Lanes, const R: usize, const C: usize>(
    x: &[f32],
    w: &[f32],
    k: usize,
    y: Shared,
    at: usize,
    stride: usize,
) {
    assert!(x.len() == C * k && w.len() == R * k);
    // SAFETY: the loads stay below k in each of the C and R rows; the caller owns the written columns.
    unsafe {
        let mut sums = [[L::splat(0.0); R]; C];
        let whole = k / L::N * L::N;
        let (xp, wp) = (x.as_ptr(), w.as_ptr());
        let mut p = 0;
        while p < whole {
            let mut ws = [L::splat(0.0); R];
            for j in 0..R {
                ws[j] = L::load(wp.add(j * k + p));
            }
            for i in 0..C {
                let x = L::load(xp.add(i * k + p));
                for j in 0..R {
                    sums[i][j] = x.fma(ws[j], sums[i][j]);
                }
            }
            p += L::N;
        }
        if whole < k {
            for i in 0..C {
                let x: L = get(&x[i * k..(i + 1) * k], whole, 0.0);
                for j in 0..R {
                    sums[i][j] = x.fma(get(&w[j * k..(j + 1) * k], whole, 0.0), sums[i][j]);
                }
            }
        }
        for i in 0..C {
            let y = y.part(at + i * stride..at + i * stride + R);
            for j in 0..R {
                y[j] = sums[i][j].sum();
            }
        }
    }
}
