//! A few rows times a weight in quantised blocks, whose integers are multiplied as they are stored,
//! without widening them. For decoding: so it waits for memory and not for arithmetic.
//!
//! The rows are integers of 16 bits with a scale for each 32 numbers, the weight's blocks.

use super::left::scales_of;
use super::pairs::{Pairs, dispatch_pairs};
use crate::cpu::Shared;
use crate::elements::Elements;
use crate::quantised_blocks::{GROUP, QuantisedBlocks, bytes, f16_at};
use crate::simd::{Lanes, get};
use std::ops::Range;

/// More rows are faster in f32, for which a weight is widened once.
const MOST_ROWS: usize = 8;
/// The largest integer: 32 products with integers of 8 bits fit 32 bits.
const LARGEST: i32 = 32767;

/// Rows as integers.
pub(crate) struct FewRows {
    n: usize,
    width: usize,
    integers: Vec<i16>,
    /// One of each block of each row
    scales: Vec<f32>,
    /// The sum of each block's numbers
    sums: Vec<f32>,
}

impl FewRows {
    /// Whether `n` rows times this weight are computed here.
    pub fn takes(n: usize, w: Elements) -> bool {
        use QuantisedBlocks::{Q4_0, Q4_1, Q8_0};
        let known = |format| matches!(format, Q4_0 | Q4_1 | Q8_0);
        n <= MOST_ROWS && matches!(w, Elements::Quantised { format, .. } if known(format))
    }

    /// `x` holds rows of `width` numbers, a multiple of 32.
    pub fn new(x: &[f32], width: usize) -> Self {
        assert!(width > 0 && width.is_multiple_of(GROUP) && x.len().is_multiple_of(width));
        let (n, blocks) = (x.len() / width, x.len() / GROUP);
        let mut rows = Self {
            n,
            width,
            integers: vec![0; x.len()],
            scales: vec![0.0; blocks],
            sums: x
                .chunks_exact(GROUP)
                .map(|block| block.iter().sum())
                .collect(),
        };
        // SAFETY: the buffers have a place for every number and every block.
        unsafe { quantise(x, rows.integers.as_mut_ptr(), rows.scales.as_mut_ptr()) };
        rows
    }

    /// Fills the columns of y that belong to the weight rows `w`, from column `first` on; y has rows
    /// of `stride`. The caller owns these columns.
    pub fn columns(&self, w: Elements, stride: usize, first: usize, y: Shared) {
        let Elements::Quantised {
            data,
            width,
            format,
        } = w
        else {
            unreachable!("`takes` was asked")
        };
        assert!(width == self.width);
        let rows = w.len() / width;
        for row in (0..self.n).step_by(MOST_AT_ONCE) {
            let part = row..(row + MOST_AT_ONCE).min(self.n);
            let output = (y, row * stride + first, stride);
            // SAFETY: the weight is complete; the caller owns the columns.
            unsafe { multiply(self, part, (data, rows, format), output) };
        }
    }
}

/// Rows that are multiplied by a weight row while it is in registers.
const MOST_AT_ONCE: usize = 4;

#[inline(always)]
unsafe fn quantise_kernel<P: Pairs>(x: &[f32], integers: *mut i16, scales: *mut f32) {
    // SAFETY: the caller is inside a `dispatch_pairs!` function; the buffers are as long as x.
    unsafe {
        for (i, block) in x.chunks_exact(GROUP).enumerate() {
            let mut most = P::zero();
            for j in (0..GROUP).step_by(P::F::N) {
                most = most.largest_bits(get(block, j, 0.0));
            }
            let (by, scale) = scales_of(most.largest(), LARGEST);
            *scales.add(i) = scale;
            for j in (0..GROUP).step_by(P::F::N) {
                let numbers: P::F = get(block, j, 0.0);
                P::narrow(numbers.mul(P::F::splat(by)), integers.add(i * GROUP + j));
            }
        }
    }
}
dispatch_pairs!(unsafe fn quantise = quantise_kernel(x: &[f32], integers: *mut i16, scales: *mut f32));

#[inline(always)]
unsafe fn multiply_kernel<P: Pairs>(
    x: &FewRows,
    rows: Range<usize>,
    (data, n_weight_rows, format): (&[u8], usize, QuantisedBlocks),
    output: (Shared, usize, usize),
) {
    // SAFETY: the caller is inside a `dispatch_pairs!` function; as it guarantees.
    unsafe {
        for row in 0..n_weight_rows {
            let size = format.row_bytes(x.width);
            let w = &data[row * size..(row + 1) * size];
            let out = (output.0, output.1 + row, output.2);
            let first = rows.start;
            match (format, rows.len()) {
                (QuantisedBlocks::Q8_0, 1) => dot::<P, Q8, 1>(x, first, w, out),
                (QuantisedBlocks::Q8_0, 2) => dot::<P, Q8, 2>(x, first, w, out),
                (QuantisedBlocks::Q8_0, 3) => dot::<P, Q8, 3>(x, first, w, out),
                (QuantisedBlocks::Q8_0, _) => dot::<P, Q8, 4>(x, first, w, out),
                (QuantisedBlocks::Q4_0, 1) => dot::<P, Q4, 1>(x, first, w, out),
                (QuantisedBlocks::Q4_0, 2) => dot::<P, Q4, 2>(x, first, w, out),
                (QuantisedBlocks::Q4_0, 3) => dot::<P, Q4, 3>(x, first, w, out),
                (QuantisedBlocks::Q4_0, _) => dot::<P, Q4, 4>(x, first, w, out),
                (_, 1) => dot::<P, Q4WithMin, 1>(x, first, w, out),
                (_, 2) => dot::<P, Q4WithMin, 2>(x, first, w, out),
                (_, 3) => dot::<P, Q4WithMin, 3>(x, first, w, out),
                (_, _) => dot::<P, Q4WithMin, 4>(x, first, w, out),
            }
        }
    }
}
dispatch_pairs!(unsafe fn multiply = multiply_kernel(x: &FewRows, rows: Range<usize>, weight: (&[u8], usize, QuantisedBlocks), output: (Shared, usize, usize)));

/// C rows of x from `first` on times one row of the weight.
#[inline(always)]
unsafe fn dot<P: Pairs, B: Block, const C: usize>(
    x: &FewRows,
    first: usize,
    w: &[u8],
    (y, at, stride): (Shared, usize, usize),
) {
    // SAFETY: the caller is inside a `dispatch_pairs!` function; the rows are complete.
    unsafe {
        let (mut sums, mut mins) = ([P::F::splat(0.0); C], [0f32; C]);
        let (n, blocks) = (P::F::N, x.width / GROUP);
        let (integers, scales, block_sums) =
            (x.integers.as_ptr(), x.scales.as_ptr(), x.sums.as_ptr());
        for (b, block) in w.chunks_exact(B::BYTES).enumerate() {
            let (mut numbers, (scale, min)) = ([0; GROUP], B::scales(block));
            B::integers(block, &mut numbers);
            for c in 0..C {
                // no checks for overflow, which would move the sums out of registers
                let at = first.wrapping_add(c).wrapping_mul(blocks).wrapping_add(b);
                let x = integers.add(at.wrapping_mul(GROUP));
                let mut sum = P::zero();
                let mut i = 0;
                while i < GROUP {
                    let w = P::load_i8(numbers.as_ptr().add(i));
                    sum = sum.dot(w, P::load(x.add(i).cast()));
                    i += 2 * n;
                }
                let scale = P::F::splat(scale * *scales.add(at));
                sums[c] = sum.to_f32().fma(scale, sums[c]);
                if B::HAS_MIN {
                    mins[c] += min * *block_sums.add(at);
                }
            }
        }
        for c in 0..C {
            y.part(at + c * stride..at + c * stride + 1)[0] = sums[c].sum() + mins[c];
        }
    }
}

/// How a block of 32 numbers is stored: integers times a scale, plus a smallest number.
trait Block {
    const BYTES: usize;
    const HAS_MIN: bool = false;
    /// The scale and the smallest number.
    fn scales(block: &[u8]) -> (f32, f32);
    fn integers(block: &[u8], to: &mut [i8; GROUP]);
}

struct Q8;
struct Q4;
struct Q4WithMin;

impl Block for Q8 {
    const BYTES: usize = 34;
    #[inline(always)]
    fn scales(block: &[u8]) -> (f32, f32) {
        (f16_at(block, 0), 0.0)
    }
    #[inline(always)]
    fn integers(block: &[u8], to: &mut [i8; GROUP]) {
        *to = bytes::<GROUP>(block, 2).map(|byte| byte as i8);
    }
}

impl Block for Q4 {
    const BYTES: usize = 18;
    #[inline(always)]
    fn scales(block: &[u8]) -> (f32, f32) {
        (f16_at(block, 0), 0.0)
    }
    #[inline(always)]
    fn integers(block: &[u8], to: &mut [i8; GROUP]) {
        four_bits(bytes(block, 2), 8, to);
    }
}

impl Block for Q4WithMin {
    const BYTES: usize = 20;
    const HAS_MIN: bool = true;
    #[inline(always)]
    fn scales(block: &[u8]) -> (f32, f32) {
        (f16_at(block, 0), f16_at(block, 2))
    }
    #[inline(always)]
    fn integers(block: &[u8], to: &mut [i8; GROUP]) {
        four_bits(bytes(block, 4), 0, to);
    }
}

/// The lower halves of the bytes, then the upper ones, less `zero`.
#[inline(always)]
fn four_bits(bytes: &[u8; 16], zero: i8, to: &mut [i8; GROUP]) {
    for i in 0..16 {
        to[i] = (bytes[i] & 15) as i8 - zero;
        to[i + 16] = (bytes[i] >> 4) as i8 - zero;
    }
}
