//! The matrix product in 16-bit integers: both factors in blocks of 128 numbers along the depth,
//! each block integers of 13 bits times a scale. Integer products are summed exactly, the sums of
//! blocks in f32. A CPU with AVX-512 VNNI multiplies so twice as many numbers a second as in f32.
//!
//! The left factor (activations, gradients) has the scale largest / 4095 in each block of each row.
//! The right factor (frozen weights) has a power of two, so that a number of bf16 within 1/16 of
//! the largest of its block is exact. Against bf16 arithmetic, which rounds each activation to 8
//! bits, the error of a product is smaller by 4 to 8 times (tests/ops/int16.rs).
//!
//! Sums of integers do not depend on the instruction set or on threads; a block that holds NaN or
//! an infinity gives NaN.

mod few_rows;
mod left;
mod pack;
mod pairs;
mod sizes;
mod tile;

pub(crate) use few_rows::FewRows;
pub(crate) use left::Left;

use crate::cpu::Shared;
use crate::product::{Mat, ONE_THREAD, Output, Term, Threads, column_panel};
use pairs::lanes;
use rayon::prelude::*;
use sizes::PANEL_VECTORS;
use std::ops::Range;

/// Rows of the left factor of one task, at least: packing a panel must pay.
const MIN_ROWS: usize = 128;

/// Rows of `left` times `right` [k, n], and the f32 terms `beside`, into `out` [rows, n]. `keep`:
/// add to `out` instead of overwriting.
pub(crate) fn product(
    (left, rows): (&Left, Range<usize>),
    (right, n): (Mat, usize),
    out: &mut [f32],
    keep: bool,
    beside: &[Term],
    threads: Threads,
) {
    let m = rows.len();
    if m == 0 || n == 0 {
        return;
    }
    assert!(rows.end <= left.rows() && m * n <= out.len());
    let out = Shared::new(out);
    right.check(left.width(), n);
    for term in beside {
        term.check(m, n);
    }
    let width = PANEL_VECTORS * lanes();
    let panels = n.div_ceil(width);
    let threads = match threads {
        Threads::All if m * n * left.width() > ONE_THREAD => rayon::current_num_threads(),
        _ => 1,
    };
    let cuts = match threads {
        1 => 1,
        _ => (4 * threads).div_ceil(panels).min(m / MIN_ROWS).max(1),
    };
    let each = m.div_ceil(cuts).next_multiple_of(8);
    let task = |task: usize| {
        let (panel, cut) = (task % panels, task / panels);
        let columns = panel * width..(panel * width + width).min(n);
        let part = (cut * each).min(m)..(cut * each + each).min(m);
        if !part.is_empty() {
            let output = Output {
                data: out,
                at: 0,
                stride: n,
                keep,
            };
            let left = (left, rows.start);
            task_panel(left, right, beside, part, columns, output);
        }
    };
    match threads {
        1 => (0..panels * cuts).for_each(task),
        _ => (0..panels * cuts).into_par_iter().for_each(task),
    }
}

/// Computes `rows` and `columns` of the output, which the caller owns. `left` comes with the row
/// that is the output's first.
fn task_panel(
    (left, first): (&Left, usize),
    right: Mat,
    beside: &[Term],
    rows: Range<usize>,
    columns: Range<usize>,
    output: Output,
) {
    let here = Output {
        at: output.at + rows.start * output.stride + columns.start,
        ..output
    };
    pack::BUFFERS.with_borrow_mut(|buffers| {
        for block in 0..left.blocks() {
            let rows = first + rows.start..first + rows.end;
            let output = Output {
                keep: output.keep || block > 0,
                ..here
            };
            tile::block((left, rows), right, block, columns.clone(), buffers, output);
        }
    });
    if !beside.is_empty() {
        let output = Output {
            keep: true,
            ..output
        };
        column_panel(beside, rows, columns, output);
    }
}
