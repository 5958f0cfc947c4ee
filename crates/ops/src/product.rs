//! The f32 matrix product, `out = keep·out + Σ scale·A·B` over one or more terms: a layer and its
//! low-rank addition are one pass over the output. After Goto & van de Geijn 2008: B is packed a
//! panel at a time into the first-level cache and multiplied by rows of A in tiles of registers. A
//! is not packed.
//!
//! The order in which an element is summed depends only on the sizes, never on the number of
//! threads.

use crate::cpu::Shared;
use crate::elements::Elements;
use crate::level::Level;
use crate::simd::{Lanes, dispatch, get, put};
use rayon::prelude::*;
use std::cell::RefCell;
use std::ops::Range;

/// A read-only matrix: element (i, j) is number `i * row + j * col` of `data`.
#[derive(Clone, Copy)]
pub(crate) struct Mat<'a> {
    data: Elements<'a>,
    row: usize,
    col: usize,
}

impl<'a> Mat<'a> {
    /// A matrix of f32 whose rows begin `stride` elements apart.
    pub(crate) fn rows(data: &'a [f32], stride: usize) -> Self {
        Self::of(Elements::F32(data), stride)
    }

    /// A matrix of any elements whose rows begin `stride` elements apart.
    pub(crate) fn of(data: Elements<'a>, stride: usize) -> Self {
        Self {
            data,
            row: stride,
            col: 1,
        }
    }

    /// The transpose.
    pub(crate) fn t(self) -> Self {
        Self {
            row: self.col,
            col: self.row,
            ..self
        }
    }

    /// Fails unless the matrix has `rows` and `cols`, neither 0.
    pub(crate) fn check(&self, rows: usize, cols: usize) {
        assert!((rows - 1) * self.row + (cols - 1) * self.col < self.data.len());
    }

    /// Whether rows lie in memory as they are; else columns do.
    pub(crate) fn has_contiguous_rows(&self) -> bool {
        self.col == 1
    }

    /// Numbers from `start` on of a contiguous row or column, as f32.
    ///
    /// # Safety
    /// As [`Lanes`].
    #[inline(always)]
    pub(crate) unsafe fn widen<L: Lanes>(&self, line: usize, start: usize, out: &mut [f32]) {
        let stride = if self.col == 1 { self.row } else { self.col };
        // SAFETY: as the caller guarantees.
        unsafe { self.data.widen::<L>(line * stride + start, out) }
    }
}

/// How many threads a product may use.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Threads {
    One,
    All,
}

/// `scale·a·b`: a [m, k] of f32, b [k, n].
#[derive(Clone, Copy)]
pub(crate) struct Term<'a> {
    pub k: usize,
    pub a: Mat<'a>,
    pub b: Mat<'a>,
    pub scale: f32,
}

impl<'a> Term<'a> {
    pub(crate) fn new(k: usize, a: Mat<'a>, b: Mat<'a>) -> Self {
        let scale = 1.0;
        Self { k, a, b, scale }
    }

    /// Fails unless the factors have the size (m, n), neither 0.
    pub(crate) fn check(&self, m: usize, n: usize) {
        self.a.check(m, self.k);
        self.b.check(self.k, n);
    }
}

/// Depth of a panel: 192 x 48 floats fill most of a first-level cache.
const PANEL: usize = 192;
/// Vectors in a row of a panel.
const PANEL_VECTORS: usize = 3;
/// The most lanes of a vector.
const MAX_LANES: usize = 16;
/// Rows of A of one task, at least: packing a panel must pay.
const MIN_ROWS: usize = 64;
/// Multiplications below which more threads cost more than they save.
pub(crate) const ONE_THREAD: usize = 256 * 1024;

/// The product of size (m, n) into `out`, m rows `stride` elements apart. `keep`: add to `out`
/// instead of overwriting.
pub(crate) fn product(
    size: (usize, usize),
    out: &mut [f32],
    stride: usize,
    keep: bool,
    terms: &[Term],
    threads: Threads,
) {
    let out = Shared::new(out);
    // SAFETY: the output is borrowed mutably for the whole call.
    unsafe { product_at(size, out, 0, stride, keep, terms, threads) }
}

/// [`product`] into the n columns of a shared matrix that begin at element `at`.
///
/// # Safety
/// No other thread may access those columns during the call.
pub(crate) unsafe fn product_at(
    (m, n): (usize, usize),
    out: Shared,
    at: usize,
    stride: usize,
    keep: bool,
    terms: &[Term],
    threads: Threads,
) {
    if m == 0 || n == 0 {
        return;
    }
    assert!(stride >= n && at + (m - 1) * stride + n <= out.len());
    let mut work = 0;
    for term in terms.iter().filter(|term| term.k > 0) {
        term.check(m, n);
        work += m * n * term.k;
    }
    if work == 0 {
        for row in (0..m).filter(|_| !keep) {
            // SAFETY: in bounds by the assertion; the caller owns the columns.
            unsafe { out.part(at + row * stride..at + row * stride + n) }.fill(0.0);
        }
        return;
    }
    let width = PANEL_VECTORS * Level::current().lanes();
    let panels = n.div_ceil(width);
    let threads = match threads {
        Threads::All if work > ONE_THREAD => rayon::current_num_threads(),
        _ => 1,
    };
    let cuts = match threads {
        1 => 1,
        _ => (4 * threads).div_ceil(panels).min(m / MIN_ROWS).max(1),
    };
    let rows = m.div_ceil(cuts).next_multiple_of(8);
    let task = |task: usize| {
        let (panel, cut) = (task % panels, task / panels);
        let columns = panel * width..(panel * width + width).min(n);
        let rows = cut * rows..(cut * rows + rows).min(m);
        if !rows.is_empty() {
            let output = Output {
                data: out,
                at,
                stride,
                keep,
            };
            column_panel(terms, rows, columns, output);
        }
    };
    match threads {
        1 => (0..panels * cuts).for_each(task),
        _ => (0..panels * cuts).into_par_iter().for_each(task),
    }
}

/// Where a product is written: rows `stride` elements apart from element `at` on.
#[derive(Clone, Copy)]
pub(crate) struct Output {
    pub data: Shared,
    pub at: usize,
    pub stride: usize,
    /// Add to the elements instead of overwriting them.
    pub keep: bool,
}

/// Buffers of a thread: a panel of B, and its weights as f32 if they are transposed. Aligned to a
/// cache line.
#[repr(align(64))]
struct Buffers {
    panel: [f32; PANEL * PANEL_VECTORS * MAX_LANES],
    widened: [f32; PANEL * PANEL_VECTORS * MAX_LANES],
}

thread_local!(static BUFFERS: RefCell<Box<Buffers>> = RefCell::new(Box::new(Buffers {
    panel: [0.0; PANEL * PANEL_VECTORS * MAX_LANES],
    widened: [0.0; PANEL * PANEL_VECTORS * MAX_LANES],
})));

/// Computes `rows` and `columns` of the output, which the caller owns.
pub(crate) fn column_panel(
    terms: &[Term],
    rows: Range<usize>,
    columns: Range<usize>,
    output: Output,
) {
    BUFFERS.with_borrow_mut(|buffers| {
        let mut output = output;
        output.at += rows.start * output.stride + columns.start;
        for term in terms {
            let parts = term.k.div_ceil(PANEL).max(1);
            let step = term.k.div_ceil(parts).next_multiple_of(MAX_LANES).max(1);
            for start in (0..term.k).step_by(step) {
                let depth = start..(start + step).min(term.k);
                panel(term, depth, rows.clone(), columns.clone(), buffers, output);
                output.keep = true;
            }
        }
    })
}

/// Adds the part `depth` of a term; `output` begins at the first of the rows and columns.
#[inline(always)]
unsafe fn panel_kernel<L: Lanes>(
    term: &Term,
    depth: Range<usize>,
    rows: Range<usize>,
    columns: Range<usize>,
    buffers: &mut Buffers,
    output: Output,
) {
    // SAFETY: the caller is inside a `dispatch!` function; sizes were checked by `product_at`.
    unsafe {
        let broad = columns.len().div_ceil(L::N);
        pack::<L>(term.b, &depth, &columns, broad * L::N, buffers);
        let Elements::F32(a) = term.a.data else {
            unreachable!("only weights have other formats, and they are the right factor")
        };
        let step = (term.a.row, term.a.col);
        let tall = if L::N == 16 { 8 } else { 4 };
        let mut row = rows.start;
        while row < rows.end {
            let left = (rows.end - row).min(tall);
            let tile = Tile {
                a: a.as_ptr().add(row * step.0 + depth.start * step.1),
                step,
                b: buffers.panel.as_ptr(),
                depth: depth.len(),
                output: Output {
                    at: output.at + (row - rows.start) * output.stride,
                    ..output
                },
                width: columns.len(),
                scale: term.scale,
            };
            row += match (left, broad) {
                (8, 3) => tile.run::<L, 8, 3>(),
                (8, 2) => tile.run::<L, 8, 2>(),
                (8, _) => tile.run::<L, 8, 1>(),
                (4..8, 3) => tile.run::<L, 4, 3>(),
                (4..8, 2) => tile.run::<L, 4, 2>(),
                (4..8, _) => tile.run::<L, 4, 1>(),
                (2..4, 3) => tile.run::<L, 2, 3>(),
                (2..4, 2) => tile.run::<L, 2, 2>(),
                (2..4, _) => tile.run::<L, 2, 1>(),
                (_, 3) => tile.run::<L, 1, 3>(),
                (_, 2) => tile.run::<L, 1, 2>(),
                (_, _) => tile.run::<L, 1, 1>(),
            };
        }
    }
}
dispatch!(fn panel = panel_kernel(term: &Term, depth: Range<usize>, rows: Range<usize>, columns: Range<usize>, buffers: &mut Buffers, output: Output));

/// Packs `depth` x `columns` of B into rows of `width`, with zeros beyond the columns.
#[inline(always)]
unsafe fn pack<L: Lanes>(
    b: Mat,
    depth: &Range<usize>,
    columns: &Range<usize>,
    width: usize,
    buffers: &mut Buffers,
) {
    let n = columns.len();
    // SAFETY: the caller is inside a `dispatch!` function.
    unsafe {
        if b.col == 1 {
            for (p, row) in depth.clone().zip(buffers.panel.chunks_exact_mut(width)) {
                b.data.widen::<L>(p * b.row + columns.start, &mut row[..n]);
                row[n..].fill(0.0);
            }
        } else if b.row == 1 {
            // the rows of the weight are the columns of B
            let k = depth.len();
            let whole = (n / L::N * L::N, k / L::N * L::N);
            let (rows, stride) = match b.data {
                Elements::F32(data) => (&data[columns.start * b.col + depth.start..], b.col),
                other => {
                    for (j, row) in columns.clone().zip(buffers.widened.chunks_exact_mut(PANEL)) {
                        other.widen::<L>(j * b.col + depth.start, &mut row[..k]);
                    }
                    (&buffers.widened[..], PANEL)
                }
            };
            let panel = &mut buffers.panel[..k * width];
            for j in (0..whole.0).step_by(L::N) {
                for p in (0..whole.1).step_by(L::N) {
                    let block = &rows[j * stride + p..][..(L::N - 1) * stride + L::N];
                    let to = &mut panel[p * width + j..][..(L::N - 1) * width + L::N];
                    L::transpose(block.as_ptr(), stride, to.as_mut_ptr(), width);
                }
            }
            for p in 0..k {
                let row = &mut panel[p * width..][..width];
                let done = if p < whole.1 { whole.0 } else { 0 };
                for (j, x) in row.iter_mut().enumerate().skip(done) {
                    *x = if j < n { rows[j * stride + p] } else { 0.0 };
                }
            }
        } else {
            unreachable!("a matrix has contiguous rows or contiguous columns")
        }
    }
}

/// A few rows of A times a packed panel.
struct Tile {
    a: *const f32,
    /// From one row of A to the next, and from one column to the next.
    step: (usize, usize),
    b: *const f32,
    depth: usize,
    output: Output,
    /// Columns of the output, at most V vectors.
    width: usize,
    scale: f32,
}

impl Tile {
    /// Computes R rows by V vectors. Returns R.
    #[inline(always)]
    unsafe fn run<L: Lanes, const R: usize, const V: usize>(self) -> usize {
        // SAFETY: A has R rows and the panel `depth` rows; the caller owns the written part of the
        // output.
        unsafe {
            // index loops without closures keep the sums in registers
            let mut sums = [[L::splat(0.0); V]; R];
            let (mut a, mut b) = (self.a, self.b);
            for _ in 0..self.depth {
                let mut row = [L::splat(0.0); V];
                for v in 0..V {
                    row[v] = L::load(b.add(v * L::N));
                }
                for i in 0..R {
                    let x = L::splat(*a.wrapping_add(i * self.step.0));
                    for v in 0..V {
                        sums[i][v] = x.fma(row[v], sums[i][v]);
                    }
                }
                (a, b) = (a.wrapping_add(self.step.1), b.add(V * L::N));
            }
            let scale = L::splat(self.scale);
            for i in 0..R {
                let start = self.output.at + i * self.output.stride;
                let out = self.output.data.part(start..start + self.width);
                for v in 0..V {
                    let old = match self.output.keep {
                        true => get(out, v * L::N, 0.0),
                        false => L::splat(0.0),
                    };
                    put(out, v * L::N, sums[i][v].fma(scale, old));
                }
            }
            R
        }
    }
}
