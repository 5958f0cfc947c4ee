//! Causal attention over ragged sequences, fused: a block of query rows at a time against the keys it may see. Nothing of
//! size [T, T] outlives a block, and backward recomputes the probabilities (Dao et al. 2022, section 3.1, by row blocks).
//!
//! Per block, with P = softmax(scale·Q·Kᵀ): O = P·V; dV += Pᵀ·dO; dS = scale·P∘(dP − Σ P∘dP) with dP = dO·Vᵀ;
//! dQ = dS·K; dK += dSᵀ·Q. A group of query heads shares one key head and sums its gradients there, and so do the sequences
//! that continue one prefix: the columns of P are the prefix's keys, then the sequence's own.

use crate::Ragged;
use crate::cpu::{self, Data, Shared};
use crate::product::{Mat, Term, Threads, product, product_at};
use crate::simd::{Lanes, dispatch, exp, get, put};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;
use std::ops::Range;

/// Query rows of one block.
const BLOCK: usize = 64;

pub(crate) fn causal_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    layout: &Ragged,
    head_dim: usize,
) -> Result<Tensor> {
    let dims = Dims::of(q, k, v, layout.n_tokens(), head_dim)?;
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
    // the largest first, so that no thread is left with one at the end
    families
        .sort_by_key(|f: &Vec<Part>| std::cmp::Reverse(f.iter().map(Part::work).sum::<usize>()));
    let op = Attention { families, dims };
    q.contiguous()?
        .apply_op3(&k.contiguous()?, &v.contiguous()?, op)
}

/// The token rows of a sequence, and of the one that it continues.
#[derive(Clone)]
struct Part {
    prefix: Range<usize>,
    own: Range<usize>,
}

impl Part {
    fn context(&self) -> usize {
        self.prefix.len() + self.own.len()
    }

    /// Pairs of query and key, roughly
    fn work(&self) -> usize {
        self.own.len() * self.context()
    }

    /// Token rows of keys with their column in P, of which the first `seen` columns count.
    fn keys(&self, seen: usize) -> impl Iterator<Item = (Range<usize>, usize)> {
        let (prefix, own) = (self.prefix.clone(), self.own.start);
        let after = prefix.len();
        [(prefix, 0), (own..own + seen - after, after)]
            .into_iter()
            .filter(|(rows, _)| !rows.is_empty())
    }
}

/// Widths: `q` = H·D, `kv` = K·D, `head` = D.
#[derive(Clone, Copy)]
pub(crate) struct Dims {
    pub q: usize,
    pub kv: usize,
    pub head: usize,
}

impl Dims {
    pub fn of(q: &Tensor, k: &Tensor, v: &Tensor, tokens: usize, head: usize) -> Result<Self> {
        if q.dims2()?.0 != tokens || k.dims2()?.0 != tokens {
            bail!(
                "causal_attention: q {:?} and k {:?} do not fit {tokens} tokens",
                q.dims(),
                k.dims()
            )
        }
        Self::of_widths(q, k, v, head)
    }

    /// Of tensors whose rows are not as many.
    pub fn of_widths(q: &Tensor, k: &Tensor, v: &Tensor, head: usize) -> Result<Self> {
        let ((_, q_width), (_, kv_width)) = (q.dims2()?, k.dims2()?);
        let whole = head > 0 && kv_width > 0 && q_width % kv_width == 0 && kv_width % head == 0;
        if !whole || v.dims() != k.dims() {
            bail!(
                "attention: q {:?}, k {:?}, v {:?} do not fit heads of width {head}",
                q.dims(),
                k.dims(),
                v.dims()
            )
        }
        Ok(Self {
            q: q_width,
            kv: kv_width,
            head,
        })
    }

    pub fn groups(&self) -> usize {
        self.q / self.kv
    }

    pub fn scale(&self) -> f32 {
        1.0 / (self.head as f32).sqrt()
    }
}

/// The part of a [rows, width] matrix from `row` on that begins with column `col`.
fn from(data: &[f32], width: usize, row: usize, col: usize) -> Mat<'_> {
    Mat::rows(&data[row * width + col..], width)
}

struct Attention {
    /// Sequences that share a prefix, it first
    families: Vec<Vec<Part>>,
    dims: Dims,
}

impl Attention {
    /// `a`·Kᵀ of `rows` rows over the first `seen` keys of a part, into `out`; `k` begins with the key head's column.
    fn over_keys(&self, a: Mat, k: &[f32], part: &Part, seen: usize, rows: usize, out: &mut [f32]) {
        let d = self.dims;
        for (keys, column) in part.keys(seen) {
            let term = Term::new(d.head, a, Mat::rows(&k[keys.start * d.kv..], d.kv).t());
            let (size, out) = ((rows, keys.len()), &mut out[column..]);
            product(size, out, seen, false, &[term], Threads::One);
        }
    }

    /// The probabilities of `rows` query rows, the last of which sees all, over the first `seen` keys, into `p`.
    fn probabilities(
        &self,
        q: Mat,
        k: &[f32],
        part: &Part,
        seen: usize,
        rows: usize,
        p: &mut [f32],
    ) {
        self.over_keys(q, k, part, seen, rows, p);
        softmax_rows(p, seen, seen - rows + 1, self.dims.scale());
    }
}

/// Room for the scores of one block of any part.
fn scores(family: &[Part]) -> Vec<f32> {
    let size = |part: &Part| BLOCK.min(part.own.len()) * part.context();
    vec![0.0; family.iter().map(size).max().unwrap_or(0)]
}

/// The blocks of a sequence of `len` tokens: query rows, relative to its start.
fn blocks(len: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len)
        .step_by(BLOCK)
        .map(move |i| i..(i + BLOCK).min(len))
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
        let d = self.dims;
        let mut out = vec![0.0; q.len()];
        let shared = Shared::new(&mut out);
        let heads = d.q / d.head;
        let tasks = self.families.len() * heads;
        (0..tasks).into_par_iter().with_max_len(1).for_each(|task| {
            let (family, head) = (&self.families[task / heads], task % heads);
            let (qc, kc) = (head * d.head, head / d.groups() * d.head);
            let (keys, values) = (&k[kc..], &v[kc..]);
            let mut p = scores(family);
            for part in family {
                for rows in blocks(part.own.len()) {
                    let (n, seen) = (rows.len(), part.prefix.len() + rows.end);
                    let p = &mut p[..n * seen];
                    let row = part.own.start + rows.start;
                    self.probabilities(from(q, d.q, row, qc), keys, part, seen, n, p);
                    let terms: Vec<Term> = part
                        .keys(seen)
                        .map(|(keys, column)| {
                            let p = Mat::rows(&p[column..], seen);
                            Term::new(keys.len(), p, from(values, d.kv, keys.start, 0))
                        })
                        .collect();
                    let (size, at) = ((n, d.head), row * d.q + qc);
                    // SAFETY: no other task has this head of these rows.
                    unsafe { product_at(size, shared, at, d.q, false, &terms, Threads::One) };
                }
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
        let d = self.dims;
        let mut dq = vec![0.0; qs.len()];
        let mut dk = vec![0.0; ks.len()];
        let mut dv = vec![0.0; vs.len()];
        let (dq_out, dk_out) = (Shared::new(&mut dq), Shared::new(&mut dk));
        let dv_out = Shared::new(&mut dv);
        let kv_heads = d.kv / d.head;
        let tasks = self.families.len() * kv_heads;
        (0..tasks).into_par_iter().with_max_len(1).for_each(|task| {
            let (family, head) = (&self.families[task / kv_heads], task % kv_heads);
            let (kc, one) = (head * d.head, Threads::One);
            let (keys, values) = (&ks[kc..], &vs[kc..]);
            let (mut p, mut dp) = (scores(family), scores(family));
            for part in family {
                for qc in (0..d.groups()).map(|g| (head * d.groups() + g) * d.head) {
                    for rows in blocks(part.own.len()) {
                        let (n, seen) = (rows.len(), part.prefix.len() + rows.end);
                        let (p, dp) = (&mut p[..n * seen], &mut dp[..n * seen]);
                        let row = part.own.start + rows.start;
                        let (queries, grads) = (from(qs, d.q, row, qc), from(gs, d.q, row, qc));
                        self.probabilities(queries, keys, part, seen, n, p);
                        self.over_keys(grads, values, part, seen, n, dp);
                        softmax_backward(p, dp, seen, d.scale());
                        for (rows, column) in part.keys(seen) {
                            let p = Mat::rows(&p[column..], seen);
                            let ds = Mat::rows(&dp[column..], seen);
                            let (q_at, k_at) = (row * d.q + qc, rows.start * d.kv + kc);
                            let (to_q, to_keys) = ((n, d.head), (rows.len(), d.head));
                            let k = from(keys, d.kv, rows.start, 0);
                            let dq = [Term::new(rows.len(), ds, k)];
                            let dk = [Term::new(n, ds.t(), queries)];
                            let dv = [Term::new(n, p.t(), grads)];
                            // SAFETY: no other task has this key head of this family, nor its group of query heads.
                            unsafe {
                                product_at(to_q, dq_out, q_at, d.q, column > 0, &dq, one);
                                product_at(to_keys, dk_out, k_at, d.kv, true, &dk, one);
                                product_at(to_keys, dv_out, k_at, d.kv, true, &dv, one);
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

/// Softmax of scale·p in place over the first `first`, `first + 1`, … elements of rows of `width`; the rest becomes 0.
#[inline(always)]
unsafe fn softmax_kernel<L: Lanes>(p: &mut [f32], width: usize, first: usize, scale: f32) {
    for (row, p) in p.chunks_exact_mut(width).enumerate() {
        let (p, hidden) = p.split_at_mut(first + row);
        hidden.fill(0.0);
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
dispatch!(fn softmax_rows = softmax_kernel(p: &mut [f32], width: usize, first: usize, scale: f32));

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
