//! A few rows times a weight in quantised blocks, whose integers are multiplied as they are stored,
//! without widening them. For decoding: so it waits for memory and not for arithmetic.
//!
//! The rows are integers of 16 bits with a scale for each 32 numbers, the weight's blocks.

use super::left::scales_of;
use super::pairs::{Pairs, dispatch_pairs};
use super::sizes::MAX_LANES;
use crate::cpu::Shared;
use crate::elements::Elements;
use crate::quantised_blocks::{GROUP, QuantisedBlocks};
use crate::simd::{Lanes, get};

/// More rows are as fast in f32, for which a weight is widened once.
const MOST_ROWS: usize = 4;
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

    /// Fills the columns of y that belong to the weight rows `w`, from column `first` on; y has
    /// rows of `stride`. The caller owns these columns.
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
        // SAFETY: the weight is complete; the caller owns the columns.
        unsafe { multiply(self, (data, rows, format), (y, first, stride)) };
    }
}

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

/// Rows of a weight that are read together: their sums do not wait for each other.
const WEIGHT_ROWS: usize = 2;

#[inline(always)]
unsafe fn multiply_kernel<P: Pairs>(
    x: &FewRows,
    (data, n_weight_rows, format): (&[u8], usize, QuantisedBlocks),
    output: (Shared, usize, usize),
) {
    // SAFETY: the caller is inside a `dispatch_pairs!` function; as it guarantees.
    unsafe {
        match format {
            QuantisedBlocks::Q8_0 => rows_of::<P, Q8>(x, data, n_weight_rows, output),
            QuantisedBlocks::Q4_0 => rows_of::<P, Q4>(x, data, n_weight_rows, output),
            _ => rows_of::<P, Q4WithMin>(x, data, n_weight_rows, output),
        }
    }
}
dispatch_pairs!(unsafe fn multiply = multiply_kernel(x: &FewRows, weight: (&[u8], usize, QuantisedBlocks), output: (Shared, usize, usize)));

#[inline(always)]
unsafe fn rows_of<P: Pairs, B: Block>(
    x: &FewRows,
    data: &[u8],
    n_weight_rows: usize,
    (y, at, stride): (Shared, usize, usize),
) {
    let (size, whole) = (
        x.width / GROUP * B::BYTES,
        n_weight_rows / WEIGHT_ROWS * WEIGHT_ROWS,
    );
    assert!(data.len() == n_weight_rows * size);
    for row in (0..whole).step_by(WEIGHT_ROWS) {
        let (w, out) = (&data[row * size..], (y, at + row, stride));
        // SAFETY: the caller is inside a `dispatch_pairs!` function and owns the columns.
        unsafe {
            match x.n {
                1 => dot::<P, B, 1, WEIGHT_ROWS>(x, 0, w, out),
                2 => dot::<P, B, 2, WEIGHT_ROWS>(x, 0, w, out),
                3 => dot::<P, B, 3, WEIGHT_ROWS>(x, 0, w, out),
                _ => dot::<P, B, 4, WEIGHT_ROWS>(x, 0, w, out),
            }
        }
    }
    for row in whole..n_weight_rows {
        let w = &data[row * size..];
        for c in 0..x.n {
            let out = (y, at + row + c * stride, stride);
            // SAFETY: as above.
            unsafe { dot::<P, B, 1, 1>(x, c, w, out) };
        }
    }
}

/// C rows of x from `first` on times the first R rows of `w`.
#[inline(always)]
unsafe fn dot<P: Pairs, B: Block, const C: usize, const R: usize>(
    x: &FewRows,
    first: usize,
    w: &[u8],
    (y, at, stride): (Shared, usize, usize),
) {
    let (blocks, size) = (x.width / GROUP, x.width / GROUP * B::BYTES);
    assert!(w.len() >= R * size && (first + C) * blocks <= x.scales.len());
    let (integers, scales, block_sums) = (x.integers.as_ptr(), x.scales.as_ptr(), x.sums.as_ptr());
    let step = 2 * P::F::N;
    // SAFETY: the caller is inside a `dispatch_pairs!` function; in bounds by the assertion.
    unsafe {
        // index loops, and sums without checks for overflow, keep the sums in registers
        let (mut sums, mut mins) = ([[P::F::splat(0.0); R]; C], [[P::F::splat(0.0); R]; C]);
        for b in 0..blocks {
            for r in 0..R {
                let at = r.wrapping_mul(size).wrapping_add(b.wrapping_mul(B::BYTES));
                let block = w.as_ptr().add(at);
                let scale = P::splat_f16(block);
                for c in 0..C {
                    let at = first.wrapping_add(c).wrapping_mul(blocks).wrapping_add(b);
                    let x = integers.add(at.wrapping_mul(GROUP));
                    let mut sum = P::zero();
                    let mut i = 0;
                    while i < GROUP {
                        sum = sum.dot(B::integers::<P>(block, i), P::load(x.add(i).cast()));
                        i = i.wrapping_add(step);
                    }
                    let scale = scale.mul(P::F::splat(*scales.add(at)));
                    sums[c][r] = sum.to_f32().fma(scale, sums[c][r]);
                    if B::HAS_MIN {
                        let x = P::F::splat(*block_sums.add(at));
                        mins[c][r] = P::splat_f16(block.add(2)).fma(x, mins[c][r]);
                    }
                }
            }
        }
        for c in 0..C {
            for r in 0..R {
                let mut lanes = [0.0; MAX_LANES];
                mins[c][r].store(lanes.as_mut_ptr());
                let at = at + c * stride + r;
                y.part(at..at + 1)[0] = sums[c][r].sum() + lanes[0];
            }
        }
    }
}

/// How a block of 32 numbers is stored: a scale of f16, perhaps a smallest number of f16, integers.
trait Block {
    const BYTES: usize;
    const HAS_MIN: bool = false;
    /// Integers from `at` on, a vector of them.
    ///
    /// # Safety
    /// As [`Pairs`]; the block is complete.
    unsafe fn integers<P: Pairs>(block: *const u8, at: usize) -> P;
}

struct Q8;
struct Q4;
struct Q4WithMin;

impl Block for Q8 {
    const BYTES: usize = 34;
    #[inline(always)]
    unsafe fn integers<P: Pairs>(block: *const u8, at: usize) -> P {
        // SAFETY: as the caller guarantees.
        unsafe { P::load_i8(block.add(2 + at).cast()) }
    }
}

impl Block for Q4 {
    const BYTES: usize = 18;
    #[inline(always)]
    unsafe fn integers<P: Pairs>(block: *const u8, at: usize) -> P {
        // SAFETY: as the caller guarantees.
        unsafe { P::load_i4(block.add(2), at > 0, 8) }
    }
}

impl Block for Q4WithMin {
    const BYTES: usize = 20;
    const HAS_MIN: bool = true;
    #[inline(always)]
    unsafe fn integers<P: Pairs>(block: *const u8, at: usize) -> P {
        // SAFETY: as the caller guarantees.
        unsafe { P::load_i4(block.add(4), at > 0, 0) }
    }
}
