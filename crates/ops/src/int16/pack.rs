//! A block of the right factor as a panel of pairs: row p holds the integers 2p and 2p + 1 of each
//! column side by side.

use super::left::powers_of_two;
use super::pairs::Pairs;
use super::sizes::{DEPTH, MAX_LANES, PANEL_VECTORS};
use crate::product::Mat;
use crate::simd::{Lanes, get};
use std::cell::RefCell;
use std::ops::Range;

const MAX_WIDTH: usize = PANEL_VECTORS * MAX_LANES;

/// Buffers of a thread, aligned to a cache line.
#[repr(align(64))]
pub(super) struct Buffers {
    /// Pairs
    pub panel: [i32; DEPTH / 2 * MAX_WIDTH],
    /// Of the columns
    pub scales: [f32; MAX_WIDTH],
    /// The block as f32: its rows, or its columns
    widened: [f32; DEPTH * MAX_WIDTH],
    /// Columns of integers
    integers: [i16; DEPTH * MAX_WIDTH],
}

thread_local!(pub(super) static BUFFERS: RefCell<Box<Buffers>> = RefCell::new(Box::new(Buffers {
    panel: [0; DEPTH / 2 * MAX_WIDTH],
    scales: [0.0; MAX_WIDTH],
    widened: [0.0; DEPTH * MAX_WIDTH],
    integers: [0; DEPTH * MAX_WIDTH],
})));

/// Packs `depth` x `columns` of B into rows of `width` pairs, with zeros beyond both.
///
/// # Safety
/// As [`Pairs`].
#[inline(always)]
pub(super) unsafe fn pack<P: Pairs>(
    b: Mat,
    depth: Range<usize>,
    columns: Range<usize>,
    width: usize,
    buffers: &mut Buffers,
) {
    // SAFETY: as the caller guarantees.
    unsafe {
        match b.has_contiguous_rows() {
            true => pack_rows::<P>(b, depth, columns, width, buffers),
            false => pack_columns::<P>(b, depth, columns, width, buffers),
        }
    }
}

/// The rows of a weight are the columns of B.
#[inline(always)]
unsafe fn pack_columns<P: Pairs>(
    b: Mat,
    depth: Range<usize>,
    columns: Range<usize>,
    width: usize,
    buffers: &mut Buffers,
) {
    let (lanes, k) = (P::F::N, depth.len());
    // whole squares of pairs
    let padded = k.next_multiple_of(2 * lanes);
    let Buffers {
        panel,
        scales,
        widened,
        integers,
    } = buffers;
    // SAFETY: the caller is inside a `dispatch_pairs!` function; the buffers hold a block.
    unsafe {
        let wide = &mut widened[..padded];
        wide[k..].fill(0.0);
        for j in 0..width {
            let to = integers[j * DEPTH..].as_mut_ptr();
            if j >= columns.len() {
                integers[j * DEPTH..j * DEPTH + padded].fill(0);
                scales[j] = 0.0;
                continue;
            }
            b.widen::<P::F>(columns.start + j, depth.start, &mut wide[..k]);
            let mut most = P::zero();
            for i in (0..padded).step_by(lanes) {
                most = most.largest_bits(P::F::load(wide.as_ptr().add(i)));
            }
            let (by, scale) = powers_of_two(most.largest());
            scales[j] = scale;
            let by = P::F::splat(by);
            for i in (0..padded).step_by(lanes) {
                P::narrow(P::F::load(wide.as_ptr().add(i)).mul(by), to.add(i));
            }
        }
        let (from, panel) = (integers.as_ptr().cast::<f32>(), panel.as_mut_ptr());
        for j in (0..width).step_by(lanes) {
            for p in (0..padded / 2).step_by(lanes) {
                let to = panel.add(p * width + j).cast();
                P::F::transpose(from.add(j * DEPTH / 2 + p), DEPTH / 2, to, width);
            }
        }
    }
}

/// The rows of a weight are the rows of B.
#[inline(always)]
unsafe fn pack_rows<P: Pairs>(
    b: Mat,
    depth: Range<usize>,
    columns: Range<usize>,
    width: usize,
    buffers: &mut Buffers,
) {
    let (lanes, n, k) = (P::F::N, columns.len(), depth.len());
    // SAFETY: the caller is inside a `dispatch_pairs!` function; the buffers hold a block.
    unsafe {
        let mut most = [P::zero(); PANEL_VECTORS];
        for (p, row) in depth.zip(buffers.widened.chunks_exact_mut(width)) {
            b.widen::<P::F>(p, columns.start, &mut row[..n]);
            row[n..].fill(0.0);
            for v in 0..width / lanes {
                most[v] = most[v].largest_bits(get(row, v * lanes, 0.0));
            }
        }
        if k % 2 == 1 {
            buffers.widened[k * width..(k + 1) * width].fill(0.0);
        }
        let mut by = [0.0; MAX_WIDTH];
        for (v, most) in most.iter().enumerate().take(width / lanes) {
            let mut bits = [0; MAX_LANES];
            most.store(bits.as_mut_ptr());
            for (i, bits) in bits.iter().enumerate().take(lanes) {
                (by[v * lanes + i], buffers.scales[v * lanes + i]) = powers_of_two(*bits);
            }
        }
        for p in 0..k.div_ceil(2) {
            let rows = &buffers.widened[2 * p * width..][..2 * width];
            let to = &mut buffers.panel[p * width..][..width];
            for v in (0..width).step_by(lanes) {
                let by = P::F::load(by.as_ptr().add(v));
                let low = P::F::load(rows.as_ptr().add(v)).mul(by);
                let high = P::F::load(rows.as_ptr().add(width + v)).mul(by);
                P::pair(low, high).store(to.as_mut_ptr().add(v));
            }
        }
    }
}
