//! The decode hot path on the CPU: attention of single rows over a cache, and writing into the cache in place.

use crate::cpu::{self, Shared};
use crate::simd::{Lanes, dispatch, exp, get, put};
use crate::spin_pool::SpinPool;
use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Tensor, bail};
use rayon::prelude::*;

/// Key rows per step of the online softmax.
const STEP: usize = 64;

/// Query heads that may share a key head in the fused attention of single rows.
pub const MAX_GROUPS: usize = 64;

/// Row times head times width below which threads cost more than they bring.
const ALONE: usize = 32 * 1024;

pub(crate) fn scatter_rows(store: &Tensor, rows: &[usize], src: &Tensor) -> Result<()> {
    let ((size, width), (n, src_width)) = (store.dims2()?, src.dims2()?);
    if width != src_width || n != rows.len() || rows.iter().any(|r| *r >= size) {
        bail!(
            "scatter_rows: {} row numbers and rows {:?} do not fit the store {:?}",
            rows.len(),
            src.dims(),
            store.dims()
        )
    }
    store.inplace_op2(&src.contiguous()?, &Scatter { rows })
}

struct Scatter<'a> {
    rows: &'a [usize],
}

impl InplaceOp2 for Scatter<'_> {
    fn name(&self) -> &'static str {
        "scatter-rows"
    }

    fn cpu_fwd(
        &self,
        store: &mut CpuStorage,
        layout: &Layout,
        src: &CpuStorage,
        src_layout: &Layout,
    ) -> Result<()> {
        let (src, width) = (cpu::slice(src, src_layout)?, layout.dims()[1]);
        let (CpuStorage::F32(store), Some((start, _))) = (store, layout.contiguous_offsets())
        else {
            bail!("scatter_rows: the store is not contiguous f32")
        };
        for (i, row) in self.rows.iter().enumerate() {
            let at = start + row * width;
            store[at..at + width].copy_from_slice(&src[i * width..(i + 1) * width]);
        }
        Ok(())
    }
}

pub(crate) fn cached_attention(
    q: &Tensor,
    keys: &Tensor,
    values: &Tensor,
    spans: &[Vec<(usize, usize)>],
    head_dim: usize,
    pool: Option<&SpinPool>,
) -> Result<Tensor> {
    let ((n, q_width), (size, width)) = (q.dims2()?, keys.dims2()?);
    let whole = head_dim > 0 && width > 0 && q_width % width == 0 && width % head_dim == 0;
    let fits = whole && q_width / width <= MAX_GROUPS;
    if !fits || values.dims() != keys.dims() || spans.len() != n {
        bail!(
            "cached_attention: q {:?}, keys {:?}, values {:?} and {} lists of spans do not fit",
            q.dims(),
            keys.dims(),
            values.dims(),
            spans.len()
        )
    }
    for (i, spans) in spans.iter().enumerate() {
        if spans.iter().all(|(_, len)| *len == 0) || spans.iter().any(|(s, len)| s + len > size) {
            bail!(
                "cached_attention: the spans of row {i} are empty or beyond the {size} cached rows"
            )
        }
    }
    let (q, keys, values) = (q.contiguous()?, keys.contiguous()?, values.contiguous()?);
    let (qs, ks, vs) = (
        cpu::Data::of(&q)?,
        cpu::Data::of(&keys)?,
        cpu::Data::of(&values)?,
    );
    let (qs, ks, vs) = (&*qs, &*ks, &*vs);
    let (heads, group_width) = (width / head_dim, q_width / width * head_dim);
    let mut out = vec![0.0; qs.len()];
    let shared = Shared::new(&mut out);
    let one = |task: usize| {
        let (row, head) = (task / heads, task % heads);
        let at = row * q_width + head * group_width..row * q_width + (head + 1) * group_width;
        let (keys, values) = (&ks[head * head_dim..], &vs[head * head_dim..]);
        // SAFETY: no other task has this group of heads of this row.
        let out = unsafe { shared.part(at.clone()) };
        attend(&qs[at], keys, values, &spans[row], width, head_dim, out);
    };
    let rows: usize = spans.iter().flatten().map(|(_, len)| len).sum();
    match pool {
        Some(pool) => pool.each(n * heads, one),
        None if rows * q_width < ALONE => (0..n * heads).for_each(one),
        None => (0..n * heads).into_par_iter().for_each(one),
    }
    cpu::tensor(out, (n, q_width))
}

/// A group of query heads `q` [G·D] against one key head whose rows are `width` apart; `out` [G·D] holds the running sum
/// of values, rescaled whenever the running maximum grows (Milakov & Gimelshein 2018).
#[inline(always)]
unsafe fn attend_kernel<L: Lanes>(
    q: &[f32],
    keys: &[f32],
    values: &[f32],
    spans: &[(usize, usize)],
    width: usize,
    d: usize,
    out: &mut [f32],
) {
    let groups = q.len() / d;
    let scale = 1.0 / (d as f32).sqrt();
    let (mut maxes, mut sums) = ([f32::NEG_INFINITY; MAX_GROUPS], [0.0f32; MAX_GROUPS]);
    let mut p = [0.0f32; STEP]; // STEP is a multiple of four
    // a step ends after STEP rows wherever they lie, so the store's layout changes no bit
    let (mut at, mut rest) = (
        [0usize; STEP],
        spans.iter().flat_map(|&(s, len)| s..s + len),
    );
    loop {
        let mut n = 0usize;
        for (at, row) in at.iter_mut().zip(rest.by_ref().take(STEP)) {
            (*at, n) = (row * width, n + 1);
        }
        if n == 0 {
            break;
        }
        for g in 0..groups {
            let (q, out) = (&q[g * d..(g + 1) * d], &mut out[g * d..(g + 1) * d]);
            // SAFETY: the caller is inside a `dispatch!` function.
            unsafe {
                let p = &mut p[..n.next_multiple_of(4)];
                p.fill(0.0);
                for i in (0..d).step_by(BLOCK * L::N) {
                    match (d - i).div_ceil(L::N) {
                        1 => scores::<L, 1>(q, keys, &at[..n], i, p),
                        2 => scores::<L, 2>(q, keys, &at[..n], i, p),
                        3 => scores::<L, 3>(q, keys, &at[..n], i, p),
                        _ => scores::<L, BLOCK>(q, keys, &at[..n], i, p),
                    }
                }
                let p = &mut p[..n];
                let mut max = maxes[g];
                for p in p.iter_mut() {
                    *p *= scale;
                    max = max.max(*p);
                }
                if max > maxes[g] {
                    let shrink = (maxes[g] - max).exp();
                    sums[g] *= shrink;
                    out.iter_mut().for_each(|o| *o *= shrink);
                    maxes[g] = max;
                }
                let mut sum = L::splat(0.0);
                for i in (0..n).step_by(L::N) {
                    let e = exp(get::<L>(p, i, f32::NEG_INFINITY).sub(L::splat(max)));
                    put(p, i, e);
                }
                for i in (0..n).step_by(L::N) {
                    sum = sum.add(get(p, i, 0.0));
                }
                sums[g] += sum.sum();
                for i in (0..d).step_by(BLOCK * L::N) {
                    match (d - i).div_ceil(L::N) {
                        1 => add_values::<L, 1>(p, values, &at[..n], i, out),
                        2 => add_values::<L, 2>(p, values, &at[..n], i, out),
                        3 => add_values::<L, 3>(p, values, &at[..n], i, out),
                        _ => add_values::<L, BLOCK>(p, values, &at[..n], i, out),
                    }
                }
            }
        }
    }
    for g in 0..groups {
        let inv = 1.0 / sums[g];
        out[g * d..(g + 1) * d].iter_mut().for_each(|o| *o *= inv);
    }
}
dispatch!(fn attend = attend_kernel(q: &[f32], keys: &[f32], values: &[f32], spans: &[(usize, usize)], width: usize, d: usize, out: &mut [f32]));

/// Vectors of a head that are worked on together.
const BLOCK: usize = 4;

/// Adds to p the products of V vectors of q, from element `first` on, with those of the keys that begin `at` these places; four keys at a
/// time, so p has room for a multiple of four.
#[inline(always)]
unsafe fn scores<L: Lanes, const V: usize>(
    q: &[f32],
    keys: &[f32],
    at: &[usize],
    first: usize,
    p: &mut [f32],
) {
    // SAFETY: the caller is inside a `dispatch!` function.
    unsafe {
        let mut qs = [L::splat(0.0); V];
        for v in 0..V {
            qs[v] = get(q, first + v * L::N, 0.0);
        }
        let last = at.len() - 1;
        for j in (0..at.len()).step_by(4) {
            let mut sums = [L::splat(0.0); 4];
            for i in 0..4 {
                let key = &keys[at[last.min(j + i)]..][..q.len()];
                for v in 0..V {
                    sums[i] = qs[v].fma(get(key, first + v * L::N, 0.0), sums[i]);
                }
            }
            let sums = L::sum4(sums);
            for i in 0..4 {
                p[j + i] += sums[i];
            }
        }
    }
}

/// Adds to V vectors of `out`, from element `first` on, those of the values that begin `at` these places, times p.
#[inline(always)]
unsafe fn add_values<L: Lanes, const V: usize>(
    p: &[f32],
    values: &[f32],
    at: &[usize],
    first: usize,
    out: &mut [f32],
) {
    // SAFETY: the caller is inside a `dispatch!` function.
    unsafe {
        let mut sums = [L::splat(0.0); V];
        for v in 0..V {
            sums[v] = get(out, first + v * L::N, 0.0);
        }
        for j in 0..at.len() {
            let value = &values[at[j]..][..out.len()];
            let p = L::splat(p[j]);
            for v in 0..V {
                sums[v] = p.fma(get(value, first + v * L::N, 0.0), sums[v]);
            }
        }
        for v in 0..V {
            put(out, first + v * L::N, sums[v]);
        }
    }
}
