//! Two models that share a head, and the KL divergence between them, in one sweep over the
//! vocabulary.

use super::running::{Running, merged, statistics};
use super::sweep::{LogitTile, sweep};
use crate::Compute;
use crate::cpu::{self, Data, Shared};
use crate::elements::Frozen;
use crate::simd::{Lanes, dispatch, exp, get};
use candle_core::{Result, Tensor};

/// [5, M]: log-probability and entropy under p, the same under q, and KL(p ‖ q) = Σ p·(x_p − x_q) −
/// lse_p + lse_q. One sweep over the vocabulary, no gradient; the first two rows are
/// `token_scores`' bit for bit.
pub(super) fn compared_scores(
    compute: Compute,
    p: &Tensor,
    q: &Tensor,
    head: &Tensor,
    targets: &[u32],
    temperature: &[f32],
) -> Result<Tensor> {
    let (m, d) = p.dims2()?;
    let (p, q, head) = (p.contiguous()?, q.contiguous()?, head.contiguous()?);
    let (ps, qs, ws) = (Data::of(&p)?, Data::of(&q)?, Frozen::of(&head)?);
    let (ps, qs, ws) = (&*ps, &*qs, ws.elements());
    let inv: Vec<f32> = temperature.iter().map(|t| 1.0 / t).collect();
    let (mut label_p, mut label_q) = (vec![0.0; m], vec![0.0; m]);
    let labels = [Shared::new(&mut label_p), Shared::new(&mut label_q)];
    let begin = || [(); 3].map(|_| vec![Running::NONE; m]);
    let partial = sweep(
        compute,
        [ps, qs],
        ws,
        d,
        begin,
        |stats, part: LogitTile<2>| {
            let LogitTile { rows, tile, logits } = part;
            let [xp, xq] = logits.map(|logits| logits.chunks_exact_mut(tile.len()));
            for ((xp, xq), row) in xp.zip(xq).zip(rows) {
                let of_p = statistics(xp, inv[row]);
                let of_q = statistics(xq, inv[row]);
                let difference = Running {
                    weighted: weighted_difference(xp, xq, of_p.max) as f64,
                    ..of_p
                };
                let news = [(of_p, 1.0), (of_q, 1.0), (difference, 0.0)];
                for (all, (new, shift)) in stats.iter_mut().zip(news) {
                    all[row] = all[row].merge(new, shift);
                }
                let target = targets[row] as usize;
                if tile.contains(&target) {
                    for (out, x) in labels.iter().zip([xp, xq]) {
                        // SAFETY: the label is in one tile only.
                        let label = unsafe { out.part(row..row + 1) };
                        label[0] = x[target - tile.start];
                    }
                }
            }
        },
    );
    let mut columns = [Vec::new(), Vec::new(), Vec::new()];
    for run in partial {
        for (column, stats) in columns.iter_mut().zip(run) {
            column.push(stats);
        }
    }
    let [of_p, of_q, differences] = columns;
    let (of_p, of_q) = (merged(of_p, m, 1.0), merged(of_q, m, 1.0));
    let differences = merged(differences, m, 0.0);
    let mut out = Vec::with_capacity(5 * m);
    for (labels, stats) in [(&label_p, &of_p), (&label_q, &of_q)] {
        out.extend(labels.iter().zip(stats).map(|(x, s)| s.logp(*x)));
        out.extend(stats.iter().map(Running::entropy));
    }
    out.extend((0..m).map(|row| {
        let kl =
            differences[row].weighted / differences[row].sum - of_p[row].lse() + of_q[row].lse();
        // rounding may make it negative; `max` would turn NaN into 0
        if kl < 0.0 { 0.0 } else { kl as f32 }
    }));
    cpu::tensor(out, (5, m))
}

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
dispatch!(fn weighted_difference = difference_kernel(p: &[f32], q: &[f32], max: f32) -> f32);
