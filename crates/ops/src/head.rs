//! The vocabulary head on the CPU: log-probabilities, entropies, KL and their gradients without [M, V].
//!
//! The vocabulary is cut into tiles of head rows and the tiles into one run per thread. A thread multiplies every row of
//! hidden states by its tile and folds the logits into running statistics (online softmax, sums over tiles in f64); the
//! runs are merged in order. Backward makes each tile's logits again. With x = logits / temperature,
//! logp = x_label − lse and H = lse − Σ p·x:
//! d logp / dx = δ_label − p;  dH / dx = −p∘(log p + H).

use crate::cpu::{self, Data, Mat, Shared, Threads, product};
use crate::linear::linear_into;
use crate::simd::{Lanes, dispatch, exp, get, put};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// Head rows of a tile.
const TILE: usize = 512;
/// Hidden rows that meet a tile at a time, so that their logits stay in the cache.
const ROWS: usize = 256;

/// [2, M]: log-probabilities, then entropies. Gradient to `hidden`, and to `head` if `trainable`.
pub(crate) fn token_scores(
    hidden: &Tensor,
    head: &Tensor,
    targets: &[u32],
    temperature: &[f32],
    trainable: bool,
) -> Result<Tensor> {
    check(hidden, head, targets, temperature)?;
    let head = if trainable {
        head.clone()
    } else {
        head.detach()
    };
    let scores = Scores {
        targets: targets.into(),
        inv_temperature: temperature.iter().map(|t| 1.0 / t).collect(),
        lse: OnceLock::new(),
    };
    hidden.contiguous()?.apply_op2(&head.contiguous()?, scores)
}

fn check(hidden: &Tensor, head: &Tensor, targets: &[u32], temperature: &[f32]) -> Result<()> {
    let ((m, d), (vocab, head_width)) = (hidden.dims2()?, head.dims2()?);
    if d != head_width || targets.len() != m || temperature.len() != m {
        bail!(
            "token_scores: hidden {:?}, head {:?}, {} targets and {} temperatures do not fit",
            hidden.dims(),
            head.dims(),
            targets.len(),
            temperature.len()
        )
    }
    if let Some(t) = targets.iter().find(|t| **t as usize >= vocab) {
        bail!("token_scores: target {t} is beyond the vocabulary of {vocab}")
    }
    Ok(())
}

struct Scores {
    targets: Arc<[u32]>,
    inv_temperature: Arc<[f32]>,
    /// log Σ exp x per row, from the forward pass
    lse: OnceLock<Vec<f32>>,
}

/// The runs of tiles, one per thread: ranges of vocabulary rows.
fn runs(vocab: usize) -> Vec<Range<usize>> {
    let tiles = vocab.div_ceil(TILE);
    let each = tiles.div_ceil(rayon::current_num_threads().max(1)).max(1) * TILE;
    (0..vocab)
        .step_by(each)
        .map(|v| v..(v + each).min(vocab))
        .collect()
}

/// `range` in pieces of at most `size`.
fn pieces(range: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(size).map(move |i| i..(i + size).min(end))
}

/// Running statistics of one row: the largest x, Σ e^(x−max) and Σ e^(x−max)·y for a payload y relative to `max`.
#[derive(Clone, Copy)]
struct Running {
    max: f32,
    sum: f64,
    weighted: f64,
}

impl Running {
    const NONE: Self = Self {
        max: f32::NEG_INFINITY,
        sum: 0.0,
        weighted: 0.0,
    };

    /// Both over the union. `shift` is 1 where the payload is x − max, which moves with the maximum, and 0 otherwise.
    fn merge(self, other: Self, shift: f64) -> Self {
        if self.sum == 0.0 {
            return other;
        }
        let max = if self.max > other.max {
            self.max
        } else {
            other.max
        };
        let moved = |r: Self| {
            let by = (r.max - max) as f64;
            let e = by.exp();
            (r.sum * e, e * (r.weighted + shift * by * r.sum))
        };
        let ((s1, w1), (s2, w2)) = (moved(self), moved(other));
        Self {
            max,
            sum: s1 + s2,
            weighted: w1 + w2,
        }
    }

    fn lse(&self) -> f64 {
        self.max as f64 + self.sum.ln()
    }

    fn logp(&self, label: f32) -> f32 {
        (label as f64 - self.lse()) as f32
    }

    /// Where the payload is x − max
    fn entropy(&self) -> f32 {
        (self.sum.ln() - self.weighted / self.sum) as f32
    }
}

impl Scores {
    fn forward(&self, hidden: &[f32], head: &[f32], d: usize) -> Vec<f32> {
        let m = self.targets.len();
        let vocab = head.len() / d;
        let mut labels = vec![0.0; m];
        let label_out = Shared::new(&mut labels);
        let partial: Vec<Vec<Running>> = runs(vocab)
            .into_par_iter()
            .map(|run| {
                let mut stats = vec![Running::NONE; m];
                let mut logits = vec![0.0; ROWS.min(m) * TILE.min(run.len())];
                for tile in pieces(run, TILE) {
                    for rows in pieces(0..m, ROWS) {
                        let logits = &mut logits[..rows.len() * tile.len()];
                        let (h, w) = (rows.start * d..rows.end * d, tile.start * d..tile.end * d);
                        linear_into(&hidden[h], &head[w], d, logits, Threads::One);
                        for (x, row) in logits.chunks_exact_mut(tile.len()).zip(rows) {
                            stats[row] =
                                stats[row].merge(statistics(x, self.inv_temperature[row]), 1.0);
                            let target = self.targets[row] as usize;
                            if tile.contains(&target) {
                                // SAFETY: the label lies in one tile only.
                                let label = unsafe { label_out.part(row..row + 1) };
                                label[0] = x[target - tile.start];
                            }
                        }
                    }
                }
                stats
            })
            .collect();
        let stats = merged(partial, m, 1.0);
        let mut out = vec![0.0; 2 * m];
        for (row, s) in stats.iter().enumerate() {
            out[row] = s.logp(labels[row]);
            out[m + row] = s.entropy();
        }
        self.lse
            .get_or_init(|| stats.iter().map(|s| s.lse() as f32).collect());
        out
    }

    /// Turns the logits of `rows` against `tile` into the gradient of them.
    fn logit_gradient(
        &self,
        logits: &mut [f32],
        rows: Range<usize>,
        tile: &Range<usize>,
        (entropy, grad): (&[f32], &[f32]),
        lse: &[f32],
    ) {
        let m = self.targets.len();
        for (x, row) in logits.chunks_exact_mut(tile.len()).zip(rows) {
            let (g_logp, g_entropy, inv) = (grad[row], grad[m + row], self.inv_temperature[row]);
            gradient(x, inv, lse[row], entropy[row], g_logp, g_entropy);
            let target = self.targets[row] as usize;
            if tile.contains(&target) {
                x[target - tile.start] += g_logp * inv;
            }
        }
    }
}

impl CustomOp2 for Scores {
    fn name(&self) -> &'static str {
        "token-scores"
    }

    fn cpu_fwd(
        &self,
        hidden: &CpuStorage,
        hl: &Layout,
        head: &CpuStorage,
        wl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (hidden, head) = (cpu::slice(hidden, hl)?, cpu::slice(head, wl)?);
        let (m, d) = hl.shape().dims2()?;
        Ok((
            CpuStorage::F32(self.forward(hidden, head, d)),
            (2, m).into(),
        ))
    }

    fn bwd(
        &self,
        hidden: &Tensor,
        head: &Tensor,
        scores: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let ((m, d), vocab) = (hidden.dims2()?, head.dim(0)?);
        let Some(lse) = self.lse.get() else {
            bail!("token-scores: backward without forward")
        };
        let grad = grad.contiguous()?;
        let (hs, ws, gs, ys) = (
            Data::of(hidden)?,
            Data::of(head)?,
            Data::of(&grad)?,
            Data::of(scores)?,
        );
        let (hs, ws, gs, entropy) = (&*hs, &*ws, &*gs, &ys[m..]);
        let trainable = head.track_op();
        let mut d_head = vec![0.0; if trainable { vocab * d } else { 0 }];
        let d_head_out = Shared::new(&mut d_head);
        let partial: Vec<Vec<f32>> = runs(vocab)
            .into_par_iter()
            .map(|run| {
                let mut d_hidden = vec![0.0; m * d];
                let mut logits = vec![0.0; ROWS.min(m) * TILE.min(run.len())];
                for tile in pieces(run, TILE) {
                    let w = &ws[tile.start * d..tile.end * d];
                    for rows in pieces(0..m, ROWS) {
                        let (at, one) = (rows.start * d..rows.end * d, Threads::One);
                        let (n, v) = (rows.len(), tile.len());
                        let (x, logits) = (&hs[at.clone()], &mut logits[..n * v]);
                        linear_into(x, w, d, logits, one);
                        self.logit_gradient(logits, rows, &tile, (entropy, gs), lse);
                        let g = Mat::rows(logits, v);
                        let out = &mut d_hidden[at];
                        product((n, d, v), out, d, true, g, Mat::rows(w, d), 1.0, one);
                        if trainable {
                            // SAFETY: no other run has this tile.
                            let out = unsafe { d_head_out.part(tile.start * d..tile.end * d) };
                            product((v, d, n), out, d, true, g.t(), Mat::rows(x, d), 1.0, one);
                        }
                    }
                }
                d_hidden
            })
            .collect();
        let mut partial = partial.into_iter();
        let mut d_hidden = partial.next().unwrap_or_else(|| vec![0.0; m * d]);
        for part in partial {
            d_hidden.iter_mut().zip(part).for_each(|(a, b)| *a += b);
        }
        let d_head = trainable
            .then(|| cpu::tensor(d_head, (vocab, d)))
            .transpose()?;
        Ok((Some(cpu::tensor(d_hidden, (m, d))?), d_head))
    }
}

/// The runs' statistics as one, in the order of the runs.
fn merged(partial: Vec<Vec<Running>>, m: usize, shift: f64) -> Vec<Running> {
    let mut all = vec![Running::NONE; m];
    for part in partial {
        for (a, b) in all.iter_mut().zip(part) {
            *a = a.merge(b, shift);
        }
    }
    all
}

/// [5, M]: log-probability and entropy under p, the same under q, and KL(p ‖ q) = Σ p·(x_p − x_q) − lse_p + lse_q. One sweep
/// over the vocabulary, no gradient; the first two rows are [`token_scores`]' bit for bit.
pub(crate) fn compared_scores(
    p: &Tensor,
    q: &Tensor,
    head: &Tensor,
    targets: &[u32],
    temperature: &[f32],
) -> Result<Tensor> {
    check(p, head, targets, temperature)?;
    check(q, head, targets, temperature)?;
    let (m, d) = p.dims2()?;
    let (p, q, head) = (p.contiguous()?, q.contiguous()?, head.contiguous()?);
    let (ps, qs, ws) = (Data::of(&p)?, Data::of(&q)?, Data::of(&head)?);
    let (ps, qs, ws) = (&*ps, &*qs, &*ws);
    let inv: Vec<f32> = temperature.iter().map(|t| 1.0 / t).collect();
    let (mut label_p, mut label_q) = (vec![0.0; m], vec![0.0; m]);
    let labels = [Shared::new(&mut label_p), Shared::new(&mut label_q)];
    let partial: Vec<[Vec<Running>; 3]> = runs(head.dim(0)?)
        .into_par_iter()
        .map(|run| {
            let mut stats = [(); 3].map(|_| vec![Running::NONE; m]);
            let size = ROWS.min(m) * TILE.min(run.len());
            let (mut xp, mut xq) = (vec![0.0; size], vec![0.0; size]);
            for tile in pieces(run, TILE) {
                let (w, width) = (&ws[tile.start * d..tile.end * d], tile.len());
                for rows in pieces(0..m, ROWS) {
                    let h = rows.start * d..rows.end * d;
                    let (xp, xq) = (&mut xp[..rows.len() * width], &mut xq[..rows.len() * width]);
                    linear_into(&ps[h.clone()], w, d, xp, Threads::One);
                    linear_into(&qs[h], w, d, xq, Threads::One);
                    let both = xp.chunks_exact_mut(width).zip(xq.chunks_exact_mut(width));
                    for ((xp, xq), row) in both.zip(rows) {
                        let of_p = statistics(xp, inv[row]);
                        let of_q = statistics(xq, inv[row]);
                        let apart = Running {
                            weighted: difference(xp, xq, of_p.max) as f64,
                            ..of_p
                        };
                        for (all, (new, shift)) in
                            stats
                                .iter_mut()
                                .zip([(of_p, 1.0), (of_q, 1.0), (apart, 0.0)])
                        {
                            all[row] = all[row].merge(new, shift);
                        }
                        let target = targets[row] as usize;
                        if tile.contains(&target) {
                            for (out, x) in labels.iter().zip([&*xp, &*xq]) {
                                // SAFETY: the label lies in one tile only.
                                let label = unsafe { out.part(row..row + 1) };
                                label[0] = x[target - tile.start];
                            }
                        }
                    }
                }
            }
            stats
        })
        .collect();
    let mut columns = [Vec::new(), Vec::new(), Vec::new()];
    for run in partial {
        for (column, stats) in columns.iter_mut().zip(run) {
            column.push(stats);
        }
    }
    let [of_p, of_q, apart] = columns;
    let (of_p, of_q) = (merged(of_p, m, 1.0), merged(of_q, m, 1.0));
    let apart = merged(apart, m, 0.0);
    let mut out = Vec::with_capacity(5 * m);
    for (labels, stats) in [(&label_p, &of_p), (&label_q, &of_q)] {
        out.extend(labels.iter().zip(stats).map(|(x, s)| s.logp(*x)));
        out.extend(stats.iter().map(Running::entropy));
    }
    out.extend((0..m).map(|row| {
        let kl = apart[row].weighted / apart[row].sum - of_p[row].lse() + of_q[row].lse();
        // rounding may leave less than nothing; `max` would turn NaN into 0
        if kl < 0.0 { 0.0 } else { kl as f32 }
    }));
    cpu::tensor(out, (5, m))
}

/// Scales the logits in place and gives their statistics, with x − max as the payload.
#[inline(always)]
unsafe fn statistics_kernel<L: Lanes>(x: &mut [f32], inv_temperature: f32) -> Running {
    // SAFETY: the caller is inside a `dispatch!` function.
    unsafe {
        let (scale, none) = (L::splat(inv_temperature), f32::NEG_INFINITY);
        let mut max = L::splat(none);
        for i in (0..x.len()).step_by(L::N) {
            let v = get::<L>(x, i, none).mul(scale);
            max = max.max(v);
            put(x, i, v);
        }
        let max = max.largest();
        let (top, mut sum, mut weighted) = (L::splat(max), L::splat(0.0), L::splat(0.0));
        for i in (0..x.len()).step_by(L::N) {
            // beyond the end: e^-87, which is nothing beside the e^0 of the maximum
            let v = get::<L>(x, i, max - 87.0).sub(top);
            let e = exp(v);
            sum = sum.add(e);
            weighted = e.fma(v, weighted);
        }
        Running {
            max,
            sum: sum.sum() as f64,
            weighted: weighted.sum() as f64,
        }
    }
}
dispatch!(fn statistics = statistics_kernel(x: &mut [f32], inv_temperature: f32) -> Running);

/// Σ e^(p − max)·(p − q)
#[inline(always)]
unsafe fn difference_kernel<L: Lanes>(p: &[f32], q: &[f32], max: f32) -> f32 {
    // SAFETY: the caller is inside a `dispatch!` function.
    unsafe {
        let mut sum = L::splat(0.0);
        for i in (0..p.len()).step_by(L::N) {
            let v: L = get(p, i, 0.0);
            sum = exp(v.sub(L::splat(max))).fma(v.sub(get(q, i, 0.0)), sum);
        }
        sum.sum()
    }
}
dispatch!(fn difference = difference_kernel(p: &[f32], q: &[f32], max: f32) -> f32);

/// Logits to the gradient of them but for the label's own term: −p∘(g_logp + g_entropy∘(log p + H)) / temperature.
#[inline(always)]
unsafe fn gradient_kernel<L: Lanes>(
    x: &mut [f32],
    inv_temperature: f32,
    lse: f32,
    entropy: f32,
    g_logp: f32,
    g_entropy: f32,
) {
    // SAFETY: the caller is inside a `dispatch!` function.
    unsafe {
        let (scale, neg_lse) = (L::splat(inv_temperature), L::splat(-lse));
        let label = L::splat(-g_logp * inv_temperature);
        let (g, entropy) = (L::splat(-g_entropy * inv_temperature), L::splat(entropy));
        for i in (0..x.len()).step_by(L::N) {
            let logp = get::<L>(x, i, 0.0).fma(scale, neg_lse);
            let p = exp(logp);
            let by = if g_entropy == 0.0 {
                label
            } else {
                g.fma(logp.add(entropy), label)
            };
            put(x, i, p.mul(by));
        }
    }
}
dispatch!(fn gradient = gradient_kernel(x: &mut [f32], inv_temperature: f32, lse: f32, entropy: f32, g_logp: f32, g_entropy: f32));
