//! The left factor: rows of f32 as blocks of integers with a scale each.

use super::pairs::{Pairs, dispatch_pairs};
use super::sizes::{DEPTH, LARGEST};
use crate::cpu::for_rows;
use crate::product::Threads;
use crate::simd::{Lanes, get};
use std::ops::Range;

/// Integers are written in vectors of up to 16, to even widths.
const ALIGN: usize = 32;
/// Numbers below 2⁻¹⁰⁶ count as 0: the inverse of their scale would overflow.
const SMALLEST: i32 = 0x0a80_0000;
/// The bits of infinity; those of NaN are above.
const INFINITE: i32 = 0x7f80_0000;

/// Rows as integers.
pub(crate) struct Left {
    rows: usize,
    width: usize,
    /// `stride` integers a row
    integers: Vec<i16>,
    stride: usize,
    /// One of each block of each row
    scales: Vec<f32>,
}

/// A part of the buffers that one task writes.
#[derive(Clone, Copy)]
struct Target {
    integers: *mut i16,
    scales: *mut f32,
}

// SAFETY: tasks write disjoint rows.
unsafe impl Send for Target {}
unsafe impl Sync for Target {}

impl Left {
    /// `x` holds rows of `width` numbers.
    pub fn new(x: &[f32], width: usize, threads: Threads) -> Self {
        let rows = x.len() / width.max(1);
        let (stride, blocks) = (width.next_multiple_of(ALIGN), width.div_ceil(DEPTH));
        let mut integers = Vec::<i16>::with_capacity(rows * stride);
        let mut scales = Vec::<f32>::with_capacity(rows * blocks);
        let target = Target {
            integers: integers.as_mut_ptr(),
            scales: scales.as_mut_ptr(),
        };
        let each = |_, range: Range<usize>| {
            let target = &target;
            for row in range {
                // SAFETY: each row of both buffers is written whole, by one task.
                unsafe {
                    quantise(
                        &x[row * width..(row + 1) * width],
                        target.integers.add(row * stride),
                        target.scales.add(row * blocks),
                    )
                };
            }
        };
        match threads {
            Threads::One => each(0, 0..rows),
            Threads::All => for_rows(rows, width, each),
        }
        // SAFETY: every row was written.
        unsafe {
            integers.set_len(rows * stride);
            scales.set_len(rows * blocks);
        }
        Self {
            rows,
            width,
            integers,
            stride,
            scales,
        }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn width(&self) -> usize {
        self.width
    }

    pub(super) fn blocks(&self) -> usize {
        self.width.div_ceil(DEPTH)
    }

    /// Pairs of integers in a block; the last integer of an odd width has a zero beside it.
    pub(super) fn pairs(&self, block: usize) -> usize {
        (self.width - block * DEPTH).min(DEPTH).div_ceil(2)
    }

    /// The integers of a block from a row on, and from one row to the next.
    pub(super) fn integers(&self, row: usize, block: usize) -> (*const i16, usize) {
        let at = row * self.stride + block * DEPTH;
        (self.integers[at..].as_ptr(), self.stride)
    }

    /// The scales of a block from a row on, and from one row to the next.
    pub(super) fn scales(&self, row: usize, block: usize) -> (*const f32, usize) {
        let blocks = self.blocks();
        (self.scales[row * blocks + block..].as_ptr(), blocks)
    }
}

/// What a block's numbers are multiplied by to be integers up to `most`, and its scale, from the
/// bits of the largest number. Integers are zero where the scale is 0 or NaN.
pub(super) fn scales_of(largest: i32, most: i32) -> (f32, f32) {
    match largest {
        INFINITE.. => (0.0, f32::NAN),
        SMALLEST.. => {
            let largest = f32::from_bits(largest as u32);
            (most as f32 / largest, largest / most as f32)
        }
        _ => (0.0, 0.0),
    }
}

/// The same with powers of two, for integers up to 4096.
pub(super) fn powers_of_two(largest: i32) -> (f32, f32) {
    match largest {
        SMALLEST..INFINITE => {
            // 2^(e + 1 - 12) where 2^e is the largest power of two within
            let exponent = (largest >> 23) - 127;
            let pow2 = |e: i32| f32::from_bits(((e + 127) as u32) << 23);
            (pow2(11 - exponent), pow2(exponent - 11))
        }
        _ => scales_of(largest, LARGEST),
    }
}

#[inline(always)]
unsafe fn quantise_kernel<P: Pairs>(x: &[f32], integers: *mut i16, scales: *mut f32) {
    // SAFETY: the caller is inside a `dispatch_pairs!` function and owns a padded row of integers
    // and its scales.
    unsafe {
        let n = P::F::N;
        for (block, x) in x.chunks(DEPTH).enumerate() {
            let mut most = P::zero();
            for i in (0..x.len()).step_by(n) {
                most = most.largest_bits(get(x, i, 0.0));
            }
            let (by, scale) = scales_of(most.largest(), LARGEST);
            *scales.add(block) = scale;
            let by = P::F::splat(by);
            let to = integers.add(block * DEPTH);
            for i in (0..x.len().next_multiple_of(ALIGN)).step_by(n) {
                let numbers = match i < x.len() {
                    true => get(x, i, 0.0),
                    false => P::F::splat(0.0),
                };
                P::narrow(numbers.mul(by), to.add(i));
            }
        }
    }
}
dispatch_pairs!(unsafe fn quantise = quantise_kernel(x: &[f32], integers: *mut i16, scales: *mut f32));
