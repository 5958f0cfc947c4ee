//! `y = x · wᵀ` over slices in main memory.

use crate::Compute;
use crate::elements::Elements;
use crate::int16::{self, FewRows, Left};
use crate::product::{Mat, Term, Threads, product};
use crate::skinny;

/// `y = x · wᵀ` in f32 with rows of `k` inputs. Few rows take [`skinny`], which does not repack the
/// weight.
pub(crate) fn linear_into(x: &[f32], w: Elements, k: usize, y: &mut [f32], threads: Threads) {
    forward(Compute::F32, x, w, k, y, &[], threads);
}

/// `y = x · wᵀ + beside`.
pub(crate) fn forward(
    compute: Compute,
    x: &[f32],
    w: Elements,
    k: usize,
    y: &mut [f32],
    beside: &[Term],
    threads: Threads,
) {
    let out = w.len().checked_div(k).unwrap_or(0);
    if out == 0 {
        return y.fill(0.0);
    }
    let size = (x.len() / k, out);
    if compute == Compute::Int16 && FewRows::takes(size.0, w) {
        let rows = FewRows::new(x, k);
        skinny::in_parts(w, k, y, threads, |w, first, y| {
            rows.columns(w, out, first, y);
        });
        if !beside.is_empty() {
            product(size, y, out, true, beside, threads);
        }
        return;
    }
    if skinny::suits(size.0, w) {
        skinny::linear(x, w, k, y, threads);
        if !beside.is_empty() {
            product(size, y, out, true, beside, threads);
        }
        return;
    }
    match compute {
        Compute::F32 => {
            let terms: Vec<Term> = [layer(x, w, k)].iter().chain(beside).copied().collect();
            product(size, y, out, false, &terms, threads);
        }
        Compute::Int16 => {
            let left = Left::new(x, k, threads);
            let right = (Mat::of(w, k).t(), out);
            int16::product((&left, 0..size.0), right, y, false, beside, threads);
        }
    }
}

/// `dx = g · w + beside` with g [n, out] and rows of `k` numbers in w.
pub(crate) fn backward(
    compute: Compute,
    g: &[f32],
    w: Elements,
    k: usize,
    dx: &mut [f32],
    beside: &[Term],
    threads: Threads,
) {
    let out = w.len() / k;
    let (size, right) = ((g.len() / out, k), Mat::of(w, k));
    match compute {
        // as few rows as forward
        Compute::Int16 if !skinny::suits(size.0, w) => {
            let left = Left::new(g, out, threads);
            int16::product((&left, 0..size.0), (right, k), dx, false, beside, threads);
        }
        _ => {
            let term = Term::new(out, Mat::rows(g, out), right);
            let terms: Vec<Term> = [term].iter().chain(beside).copied().collect();
            product(size, dx, k, false, &terms, threads);
        }
    }
}

/// `x · wᵀ` as a term of a product.
pub(super) fn layer<'a>(x: &'a [f32], w: Elements<'a>, k: usize) -> Term<'a> {
    Term::new(k, Mat::rows(x, k), Mat::of(w, k).t())
}
