//! Attention of single tokens over their cache on the CPU, fused: one group of query heads at a
//! time, by online softmax over steps of cached rows.

use super::spec::AttentionSpec;
use crate::cpu::{self, Shared};
use crate::simd::{Lanes, dispatch, exp, get, put};
use crate::spin_pool::SpinPool;
use candle_core::{Result, Tensor, bail};
use rayon::prelude::*;

/// Key rows per step of the online softmax.
const STEP: usize = 64;

/// Query heads that may share a key head in the fused attention of single rows.
pub const MAX_GROUPS: usize = 64;

/// Cached rows × width of a query below which more threads cost more than they save.
const ONE_THREAD: usize = 32 * 1024;

/// The inputs have passed [`AttentionSpec::check_cached`]. `pool`: the threads to use, else
/// rayon's.
pub(crate) fn cached_attention(
    q: &Tensor,
    keys: &Tensor,
    values: &Tensor,
    spans: &[Vec<(usize, usize)>],
    spec: AttentionSpec,
    pool: Option<&SpinPool>,
) -> Result<Tensor> {
    if spec.groups() > MAX_GROUPS {
        bail!(
            "cached_attention: {} query heads share a key head; at most {MAX_GROUPS} can",
            spec.groups()
        )
    }
    let (q, keys, values) = (q.contiguous()?, keys.contiguous()?, values.contiguous()?);
    let (qs, ks, vs) = (
        cpu::Data::of(&q)?,
        cpu::Data::of(&keys)?,
        cpu::Data::of(&values)?,
    );
    let (qs, ks, vs) = (&*qs, &*ks, &*vs);
    let (n, q_width, heads) = (q.dim(0)?, spec.q_width(), spec.kv_heads);
    let group_width = spec.groups() * spec.head_dim;
    let mut out = vec![0.0; qs.len()];
    let shared = Shared::new(&mut out);
    let one = |task: usize| {
        let (row, head) = (task / heads, task % heads);
        let start = row * q_width + head * group_width;
        let group = start..start + group_width;
        let cached = CachedHead {
            keys: &ks[head * spec.head_dim..],
            values: &vs[head * spec.head_dim..],
            spans: &spans[row],
            stride: spec.kv_width(),
            dim: spec.head_dim,
        };
        // SAFETY: no other task has this group of heads of this row.
        let out = unsafe { shared.part(group.clone()) };
        attend(&qs[group], &cached, spec.scale_f32(), out);
    };
    let rows: usize = spans.iter().flatten().map(|(_, len)| len).sum();
    match pool {
        Some(pool) => pool.each(n * heads, one),
        None if rows * q_width < ONE_THREAD => (0..n * heads).for_each(one),
        None => (0..n * heads).into_par_iter().for_each(one),
    }
    cpu::tensor(out, (n, q_width))
}

/// The cached rows of one sequence and one key head.
struct CachedHead<'a> {
    /// From the head's first column on
    keys: &'a [f32],
    values: &'a [f32],
    /// Runs of rows (start, length)
    spans: &'a [(usize, usize)],
    /// Elements from one row to the next
    stride: usize,
    /// D
    dim: usize,
}

/// A group of query heads `q` [G·D] against one key head; `out` [G·D] holds the running sum of
/// values, rescaled whenever the running maximum grows (Milakov & Gimelshein 2018).
#[inline(always)]
unsafe fn attend_kernel<L: Lanes>(q: &[f32], cached: &CachedHead, scale: f32, out: &mut [f32]) {
    let CachedHead {
        keys,
        values,
        spans,
        stride,
        dim: d,
    } = *cached;
    let groups = q.len() / d;
    let (mut maxes, mut sums) = ([f32::NEG_INFINITY; MAX_GROUPS], [0.0f32; MAX_GROUPS]);
    let mut p = [0.0f32; STEP]; // STEP is a multiple of four
    // a step ends after STEP rows wherever they are, so the layout of the cache changes no bit
    let (mut at, mut rest) = (
        [0usize; STEP],
        spans.iter().flat_map(|&(s, len)| s..s + len),
    );
    loop {
        let mut n = 0usize;
        for (at, row) in at.iter_mut().zip(rest.by_ref().take(STEP)) {
            (*at, n) = (row * stride, n + 1);
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
                for i in (0..d).step_by(CHUNK * L::N) {
                    match (d - i).div_ceil(L::N) {
                        1 => scores::<L, 1>(q, keys, &at[..n], i, p),
                        2 => scores::<L, 2>(q, keys, &at[..n], i, p),
                        3 => scores::<L, 3>(q, keys, &at[..n], i, p),
                        _ => scores::<L, CHUNK>(q, keys, &at[..n], i, p),
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
                for i in (0..d).step_by(CHUNK * L::N) {
                    match (d - i).div_ceil(L::N) {
                        1 => add_values::<L, 1>(p, values, &at[..n], i, out),
                        2 => add_values::<L, 2>(p, values, &at[..n], i, out),
                        3 => add_values::<L, 3>(p, values, &at[..n], i, out),
                        _ => add_values::<L, CHUNK>(p, values, &at[..n], i, out),
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
dispatch!(fn attend = attend_kernel(q: &[f32], cached: &CachedHead, scale: f32, out: &mut [f32]));

/// Vectors of a head that are processed together.
const CHUNK: usize = 4;

/// Adds to p the products of V vectors of q, from element `first` on, with those of the keys that
/// begin at the offsets `at`; four keys at a time, so the length of p is a multiple of four.
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

/// Adds to V vectors of `out`, from element `first` on, those of the values that begin at the
/// offsets `at`, times p.
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
