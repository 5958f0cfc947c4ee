//! `y = x · wᵀ` over slices in main memory.

use crate::elements::Elements;
use crate::product::{Mat, Term, Threads, product};
use crate::skinny;

/// `y = x · wᵀ` with rows of `k` inputs. Few rows take [`skinny`], which does not repack the
/// weight.
pub(crate) fn linear_into(x: &[f32], w: Elements, k: usize, y: &mut [f32], threads: Threads) {
    if k == 0 {
        return y.fill(0.0);
    }
    let (n, out) = (x.len() / k, w.len() / k);
    if skinny::suits(n, w) {
        skinny::linear(x, w, k, y, threads);
    } else {
        product((n, out), y, out, false, &[layer(x, w, k)], threads);
    }
}

/// `x · wᵀ` as a term of a product.
pub(super) fn layer<'a>(x: &'a [f32], w: Elements<'a>, k: usize) -> Term<'a> {
    Term::new(k, Mat::rows(x, k), Mat::of(w, k).t())
}
