//! The vocabulary head on the CPU: log-probabilities, entropies and their gradients without [M, V].
//!
//! A sweep over the vocabulary folds the logits into running statistics (sums over tiles in f64);
//! backward recomputes the logits of each tile. With x = logits / temperature, logp = x_label − lse
//! and H = lse − Σ p·x: d logp / dx = δ_label − p;  dH / dx = −p∘(log p + H).

use super::running::{Running, merged, statistics};
use super::sweep::{LogitTile, sweep};
use crate::Compute;
use crate::cpu::{self, Data, Shared};
use crate::elements::{Elements, Frozen, elements};
use crate::int16::{self, Left};
use crate::product::{Mat, Term, Threads, product};
use crate::simd::{Lanes, dispatch, exp, get, put};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// [2, M]: log-probabilities, then entropies. Gradient to `hidden`, and to `head` if `trainable`.
pub(super) fn token_scores(
    compute: Compute,
    hidden: &Tensor,
    head: &Tensor,
    targets: &[u32],
    temperature: &[f32],
    trainable: bool,
) -> Result<Tensor> {
    let head = if trainable {
        head.clone()
    } else {
        head.detach()
    };
    let scores = Scores {
        compute,
        targets: targets.into(),
        inv_temperature: temperature.iter().map(|t| 1.0 / t).collect(),
        lse: OnceLock::new(),
    };
    hidden.contiguous()?.apply_op2(&head.contiguous()?, scores)
}

struct Scores {
    compute: Compute,
    targets: Arc<[u32]>,
    inv_temperature: Arc<[f32]>,
    /// log Σ exp x per row, from the forward pass
    lse: OnceLock<Vec<f32>>,
}

impl Scores {
    fn forward(&self, hidden: &[f32], head: Elements, d: usize) -> Vec<f32> {
        let m = self.targets.len();
        let mut labels = vec![0.0; m];
        let label_out = Shared::new(&mut labels);
        let begin = || vec![Running::NONE; m];
        let partial = sweep(
            self.compute,
            [hidden],
            head,
            d,
            begin,
            |stats, part: LogitTile<1>| {
                let LogitTile { rows, tile, logits } = part;
                let [logits] = logits;
                for (x, row) in logits.chunks_exact_mut(tile.len()).zip(rows) {
                    stats[row] = stats[row].merge(statistics(x, self.inv_temperature[row]), 1.0);
                    let target = self.targets[row] as usize;
                    if tile.contains(&target) {
                        // SAFETY: the label is in one tile only.
                        let label = unsafe { label_out.part(row..row + 1) };
                        label[0] = x[target - tile.start];
                    }
                }
            },
        );
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

    /// Replaces the logits of `rows` against `tile` by their gradient.
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
        let (hidden, head) = (cpu::slice(hidden, hl)?, elements(head, wl)?);
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
            Frozen::of(head)?,
            Data::of(&grad)?,
            Data::of(scores)?,
        );
        let (hs, ws, gs, entropy) = (&*hs, ws.elements(), &*gs, &ys[m..]);
        let trainable = head.track_op();
        let mut d_head = vec![0.0; if trainable { vocab * d } else { 0 }];
        let d_head_out = Shared::new(&mut d_head);
        let begin = || vec![0.0; m * d];
        let fold = |d_hidden: &mut Vec<f32>, part: LogitTile<1>| {
            let LogitTile { rows, tile, logits } = part;
            let [logits] = logits;
            let (n, v, one) = (rows.len(), tile.len(), Threads::One);
            let (at, w) = (rows.start * d..rows.end * d, tile.start * d..tile.end * d);
            self.logit_gradient(logits, rows, &tile, (entropy, gs), lse);
            let g = Mat::rows(logits, v);
            let (x, out) = (Mat::rows(&hs[at.clone()], d), &mut d_hidden[at]);
            let tile = Mat::of(ws.part(w.clone()), d);
            match self.compute {
                Compute::F32 => product((n, d), out, d, true, &[Term::new(v, g, tile)], one),
                Compute::Int16 => {
                    let left = Left::new(logits, v, one);
                    int16::product((&left, 0..n), (tile, d), out, true, &[], one);
                }
            }
            if trainable {
                // SAFETY: no other run has this tile.
                let out = unsafe { d_head_out.part(w) };
                product((v, d), out, d, true, &[Term::new(n, g.t(), x)], one);
            }
        };
        let partial = sweep(self.compute, [hs], ws, d, begin, fold);
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

/// Replaces logits by their gradient, without the term of the label: −p∘(g_logp + g_entropy∘(log p
/// + H)) / temperature.
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
