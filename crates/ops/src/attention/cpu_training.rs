//! Causal attention over ragged sequences on the CPU, fused: a tile of query rows at a time against
//! the keys it may see. Nothing of size [T, T] outlives a tile, and backward recomputes the
//! probabilities (Dao et al. 2022, section 3.1, by row tiles). With a window, a tile leaves out the
//! keys before the first that one of its queries sees.
//!
//! Per tile, with P = softmax(scale·Q·Kᵀ): O = P·V; dV += Pᵀ·dO; dS = scale·P∘(dP − Σ P∘dP) with dP
//! = dO·Vᵀ; dQ = dS·K; dK += dSᵀ·Q. A group of query heads shares one key head and sums its
//! gradients there, and so do the sequences that continue one prefix: the columns of P are the
//! prefix's keys, then the sequence's own, from the tile's first key on.

use super::spec::AttentionSpec;
use crate::cpu::{self, Data, Shared};
use crate::product::{Mat, Term, Threads, product, product_at};
use crate::ragged::Ragged;
use crate::simd::{Lanes, dispatch, exp, get, put};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;
use std::ops::Range;

/// Query rows of a tile.
const TILE: usize = 64;

pub(crate) fn causal_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    layout: &Ragged,
    spec: AttentionSpec,
) -> Result<Tensor> {
    let part = |seq: usize| Part {
        prefix: layout.prefix(seq),
        own: layout.range(seq),
    };
    let mut families: Vec<Vec<Part>> = layout
        .families()
        .into_iter()
        .map(|seqs| seqs.into_iter().map(part).filter(|p| !p.own.is_empty()))
        .map(Iterator::collect)
        .filter(|parts: &Vec<Part>| !parts.is_empty())
        .collect();
    // the largest first, so that no thread starts a large one at the end
    families.sort_by_key(|f: &Vec<Part>| {
        std::cmp::Reverse(f.iter().map(|p| p.work(spec)).sum::<usize>())
    });
    let op = Attention { families, spec };
    q.contiguous()?
        .apply_op3(&k.contiguous()?, &v.contiguous()?, op)
}

/// The token rows of a sequence, and of the sequence that it continues.
#[derive(Clone)]
struct Part {
    prefix: Range<usize>,
    own: Range<usize>,
}

impl Part {
    fn context(&self) -> usize {
        self.prefix.len() + self.own.len()
    }

    /// Roughly the pairs of a query and a key.
    fn work(&self, spec: AttentionSpec) -> usize {
        self.own.len() * self.context().min(spec.reach())
    }

    /// The tiles, each with its first token row.
    fn tiles(&self, spec: AttentionSpec) -> impl Iterator<Item = (usize, Tile<'_>)> {
        let (len, before) = (self.own.len(), self.prefix.len());
        (0..len).step_by(TILE).map(move |start| {
            let end = (start + TILE).min(len);
            let tile = Tile {
                part: self,
                rows: end - start,
                first: spec.first_key(before + start),
                end: before + end,
            };
            (self.own.start + start, tile)
        })
    }
}

/// The part of a [rows, width] matrix from row `row` and column `col` on.
fn from(data: &[f32], width: usize, row: usize, col: usize) -> Mat<'_> {
    Mat::rows(&data[row * width + col..], width)
}

struct Attention {
    /// Sequences that share a prefix, the prefix first
    families: Vec<Vec<Part>>,
    spec: AttentionSpec,
}

/// A tile of query rows. Row i sees the keys of its part's context from `first` up to
/// `end - rows + i`, inclusive; with a window, only the last of them.
#[derive(Clone, Copy)]
struct Tile<'a> {
    part: &'a Part,
    /// Query rows
    rows: usize,
    first: usize,
    end: usize,
}

impl Tile<'_> {
    /// The keys that a row sees: columns of P.
    fn columns(&self) -> usize {
        self.end - self.first
    }

    /// The token rows of the keys, in one or two runs, each with its first column in P.
    fn keys(&self) -> impl Iterator<Item = (Range<usize>, usize)> {
        let Part { prefix, own } = self.part;
        let (first, end, before) = (self.first, self.end, prefix.len());
        let of_prefix = prefix.start + first.min(before)..prefix.end;
        let of_own = own.start + first.saturating_sub(before)..own.start + end - before;
        [(of_prefix, 0), (of_own, before.saturating_sub(first))]
            .into_iter()
            .filter(|(rows, _)| !rows.is_empty())
    }
}

impl Attention {
    /// `a`·Kᵀ of the tile's rows over the keys that it sees, into `out` [rows, columns]; `k` begins
    /// at the key head's column.
    fn times_keys(&self, a: Mat, k: &[f32], tile: Tile, out: &mut [f32]) {
        let (width, dim) = (self.spec.kv_width(), self.spec.head_dim);
        for (keys, column) in tile.keys() {
            let term = Term::new(dim, a, Mat::rows(&k[keys.start * width..], width).t());
            let (size, out) = ((tile.rows, keys.len()), &mut out[column..]);
            product(size, out, tile.columns(), false, &[term], Threads::One);
        }
    }

    /// The probabilities of the tile's query rows over the keys, into `p` [rows, columns].
    fn probabilities(&self, q: Mat, k: &[f32], tile: Tile, p: &mut [f32]) {
        self.times_keys(q, k, tile, p);
        let columns = tile.columns();
        let first_end = columns - tile.rows + 1;
        let (reach, scale) = (self.spec.reach(), self.spec.scale_f32());
        softmax_rows(p, columns, first_end, reach, scale);
    }

    /// A buffer for the scores of any tile of the family.
    fn scores(&self, family: &[Part]) -> Vec<f32> {
        let tiles = family.iter().flat_map(|part| part.tiles(self.spec));
        let sizes = tiles.map(|(_, tile)| tile.rows * tile.columns());
        vec![0.0; sizes.max().unwrap_or(0)]
    }
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "causal-attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        ql: &Layout,
        k: &CpuStorage,
        kl: &Layout,
        v: &CpuStorage,
        vl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (q, k, v) = (cpu::slice(q, ql)?, cpu::slice(k, kl)?, cpu::slice(v, vl)?);
        let (heads, groups, dim) = (self.spec.heads, self.spec.groups(), self.spec.head_dim);
        let (q_width, kv_width) = (self.spec.q_width(), self.spec.kv_width());
        let mut out = vec![0.0; q.len()];
        let shared = Shared::new(&mut out);
        let tasks = self.families.len() * heads;
        (0..tasks).into_par_iter().with_max_len(1).for_each(|task| {
            let (family, head) = (&self.families[task / heads], task % heads);
            let (q_column, k_column) = (head * dim, head / groups * dim);
            let (keys, values) = (&k[k_column..], &v[k_column..]);
            let mut p = self.scores(family);
            for (row, tile) in family.iter().flat_map(|part| part.tiles(self.spec)) {
                let columns = tile.columns();
                let p = &mut p[..tile.rows * columns];
                self.probabilities(from(q, q_width, row, q_column), keys, tile, p);
                let terms: Vec<Term> = tile
                    .keys()
                    .map(|(keys, column)| {
                        let p = Mat::rows(&p[column..], columns);
                        Term::new(keys.len(), p, from(values, kv_width, keys.start, 0))
                    })
                    .collect();
                let (size, at) = ((tile.rows, dim), row * q_width + q_column);
                // SAFETY: no other task has this head of these rows.
                unsafe { product_at(size, shared, at, q_width, false, &terms, Threads::One) };
            }
        });
        Ok((CpuStorage::F32(out), ql.shape().clone()))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (qs, ks, vs, gs) = (Data::of(q)?, Data::of(k)?, Data::of(v)?, Data::of(&grad)?);
        let (qs, ks, vs, gs) = (&*qs, &*ks, &*vs, &*gs);
        let (kv_heads, groups, dim) = (self.spec.kv_heads, self.spec.groups(), self.spec.head_dim);
        let (q_width, kv_width) = (self.spec.q_width(), self.spec.kv_width());
        let mut dq = vec![0.0; qs.len()];
        let mut dk = vec![0.0; ks.len()];
        let mut dv = vec![0.0; vs.len()];
        let (dq_out, dk_out) = (Shared::new(&mut dq), Shared::new(&mut dk));
        let dv_out = Shared::new(&mut dv);
        let tasks = self.families.len() * kv_heads;
        (0..tasks).into_par_iter().with_max_len(1).for_each(|task| {
            let (family, head) = (&self.families[task / kv_heads], task % kv_heads);
            let (k_column, one) = (head * dim, Threads::One);
            let (keys, values) = (&ks[k_column..], &vs[k_column..]);
            let (mut p, mut dp) = (self.scores(family), self.scores(family));
            for part in family {
                for q_column in (0..groups).map(|g| (head * groups + g) * dim) {
                    for (row, tile) in part.tiles(self.spec) {
                        let (n, columns) = (tile.rows, tile.columns());
                        let (p, dp) = (&mut p[..n * columns], &mut dp[..n * columns]);
                        let queries = from(qs, q_width, row, q_column);
                        let grads = from(gs, q_width, row, q_column);
                        self.probabilities(queries, keys, tile, p);
                        self.times_keys(grads, values, tile, dp);
                        softmax_backward(p, dp, columns, self.spec.scale_f32());
                        for (rows, column) in tile.keys() {
                            let p = Mat::rows(&p[column..], columns);
                            let ds = Mat::rows(&dp[column..], columns);
                            let q_at = row * q_width + q_column;
                            let k_at = rows.start * kv_width + k_column;
                            let (to_q, to_keys) = ((n, dim), (rows.len(), dim));
                            let k = from(keys, kv_width, rows.start, 0);
                            let dq = [Term::new(rows.len(), ds, k)];
                            let dk = [Term::new(n, ds.t(), queries)];
                            let dv = [Term::new(n, p.t(), grads)];
                            // SAFETY: no other task has this key head of this family, nor its query
                            // heads.
                            unsafe {
                                product_at(to_q, dq_out, q_at, q_width, column > 0, &dq, one);
                                product_at(to_keys, dk_out, k_at, kv_width, true, &dk, one);
                                product_at(to_keys, dv_out, k_at, kv_width, true, &dv, one);
                            }
                        }
                    }
                }
            }
        });
        Ok((
            Some(cpu::tensor(dq, q.shape())?),
            Some(cpu::tensor(dk, k.shape())?),
            Some(cpu::tensor(dv, v.shape())?),
        ))
    }
}

/// Softmax of scale·p in place over the last `reach` of the first `first_end`, `first_end + 1`, …
/// elements of rows of `width`; the others become 0.
#[inline(always)]
unsafe fn softmax_kernel<L: Lanes>(
    p: &mut [f32],
    width: usize,
    first_end: usize,
    reach: usize,
    scale: f32,
) {
    for (row, p) in p.chunks_exact_mut(width).enumerate() {
        let (p, later) = p.split_at_mut(first_end + row);
        later.fill(0.0);
        let (earlier, p) = p.split_at_mut(p.len().saturating_sub(reach));
        earlier.fill(0.0);
        // SAFETY: the caller is inside a `dispatch!` function.
        unsafe {
            let mut max = L::splat(f32::NEG_INFINITY);
            for i in (0..p.len()).step_by(L::N) {
                max = max.max(get(p, i, f32::NEG_INFINITY));
            }
            let max = L::splat(max.largest());
            let mut sum = L::splat(0.0);
            for i in (0..p.len()).step_by(L::N) {
                let e = exp(get::<L>(p, i, f32::NEG_INFINITY)
                    .sub(max)
                    .mul(L::splat(scale)));
                sum = sum.add(e);
                put(p, i, e);
            }
            let inv = L::splat(1.0 / sum.sum());
            for i in (0..p.len()).step_by(L::N) {
                put(p, i, get::<L>(p, i, 0.0).mul(inv));
            }
        }
    }
}
dispatch!(fn softmax_rows = softmax_kernel(p: &mut [f32], width: usize, first_end: usize, reach: usize, scale: f32));

/// `dp` becomes scale·p∘(dp − Σ p∘dp), row by row.
#[inline(always)]
unsafe fn softmax_backward_kernel<L: Lanes>(p: &[f32], dp: &mut [f32], width: usize, scale: f32) {
    for (p, dp) in p.chunks_exact(width).zip(dp.chunks_exact_mut(width)) {
        // SAFETY: the caller is inside a `dispatch!` function.
        unsafe {
            let mut dot = L::splat(0.0);
            for i in (0..width).step_by(L::N) {
                dot = get::<L>(p, i, 0.0).fma(get(dp, i, 0.0), dot);
            }
            let (dot, scale) = (L::splat(dot.sum()), L::splat(scale));
            for i in (0..width).step_by(L::N) {
                let ds = get::<L>(dp, i, 0.0).sub(dot).mul(get(p, i, 0.0)).mul(scale);
                put(dp, i, ds);
            }
        }
    }
}
dispatch!(fn softmax_backward = softmax_backward_kernel(p: &[f32], dp: &mut [f32], width: usize, scale: f32));
