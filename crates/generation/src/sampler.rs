//! One draw from one row of logits: temperature, then top-k, then top-p, as transformers' warpers in that order.

use crate::Sampling;
use crate::request::refuse;
use candle_core::Result;
use ops::{Drawn, WEIGHTS_BLOCK, WeightSums};
use rand::Rng;

pub(crate) const NOT_FINITE: &str =
    "generation: the model's logits are not finite; its weights or adapter are broken";

/// Draws one token. Takes exactly one number from `rng`, none when greedy (the largest logit; the lowest id on ties).
///
/// top-k keeps every logit not below the k-th largest, so ties at the edge stay. top-p then keeps a token when the mass
/// ranked above it, renormalised after top-k, is less than `top_p`; the first is always kept. The quantile runs over what is kept in the
/// order of ids. Sums are f64. [`ops::sample`] draws by the same rules on a card.
pub fn draw(logits: &[f32], sampling: &Sampling, rng: &mut impl Rng) -> Result<Drawn> {
    let temperature = if sampling.is_greedy() {
        1.0
    } else {
        sampling.temperature
    };
    let mut weights = Vec::new();
    let Some(sums) = ops::softmax_weights(logits, temperature, &mut weights) else {
        return refuse(NOT_FINITE.into());
    };
    let (top, sum, weighted) = (sums.top, sums.total(), sums.weighted);
    if !sum.is_finite() {
        return refuse(NOT_FINITE.into());
    }
    let (id, kept) = if sampling.is_greedy() {
        (top, sum)
    } else {
        let u: f64 = rng.random();
        pick(&weights, &sums, sampling, u)
    };
    let x = f64::from((logits[id] - logits[top]) / temperature);
    Ok(Drawn {
        id: id as u32,
        logp: (x - sum.ln()) as f32,
        entropy: (sum.ln() - weighted / sum) as f32,
        max_prob: (1.0 / kept) as f32,
    })
}

/// The token at quantile `u` of the truncated weights, and the mass that was kept (in units of the largest weight).
fn pick(weights: &[f32], sums: &WeightSums, sampling: &Sampling, u: f64) -> (usize, f64) {
    let (vocab, sum) = (weights.len(), sums.total());
    let top_k = match sampling.top_k {
        0 => vocab,
        k => k.min(vocab),
    };
    if top_k == vocab && sampling.top_p >= 1.0 {
        return (whole_quantile(weights, sums, u * sum), sum);
    }
    let mut kept = truncate(weights, sum, top_k, f64::from(sampling.top_p));
    kept.sort_unstable_by_key(|(id, _)| *id);
    let mass = kept.iter().map(|(_, w)| f64::from(*w)).sum();
    (quantile(kept.into_iter(), u * mass), mass)
}

/// The tokens that top-k and top-p leave, in descending order (the lower id first on ties).
fn truncate(weights: &[f32], sum: f64, top_k: usize, top_p: f64) -> Vec<(usize, f32)> {
    let mut order: Vec<(usize, f32)> = weights.iter().copied().enumerate().collect();
    let descending = |a: &(usize, f32), b: &(usize, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    let mut mass = sum;
    if top_k < order.len() {
        let (_, edge, _) = order.select_nth_unstable_by(top_k - 1, descending);
        let edge = edge.1;
        order.retain(|(_, w)| *w >= edge);
        order.sort_unstable_by(descending);
        mass = order.iter().map(|(_, w)| f64::from(*w)).sum();
    }
    if top_p >= 1.0 {
        order.sort_unstable_by(descending);
        return order;
    }
    // only the head of a long tail is ever sorted
    let mut sorted = 256;
    loop {
        let head = sorted.min(order.len());
        if head < order.len() {
            order.select_nth_unstable_by(head, descending);
        }
        order[..head].sort_unstable_by(descending);
        let mut above = 0f64;
        for at in 0..head {
            if at > 0 && above >= top_p * mass {
                order.truncate(at);
                return order;
            }
            above += f64::from(order[at].1);
        }
        if head == order.len() {
            return order;
        }
        sorted *= 4;
    }
}

/// [`quantile`] over all weights, which finds the block first.
fn whole_quantile(weights: &[f32], sums: &WeightSums, target: f64) -> usize {
    let (mut before, mut block) = (0.0, 0);
    while block + 1 < sums.blocks.len() && before + sums.blocks[block] <= target {
        before += sums.blocks[block];
        block += 1;
    }
    // rounding between the block's sum and its parts may leave nothing in it: then the last of positive weight before
    let items = |from: usize, to: usize| weights[from..to].iter().copied().enumerate();
    let start = block * WEIGHTS_BLOCK;
    let end = (start + WEIGHTS_BLOCK).min(weights.len());
    if weights[start..end].iter().any(|w| *w > 0.0) {
        start + quantile(items(start, end), target - before)
    } else {
        quantile(items(0, start), f64::INFINITY)
    }
}

/// The first item at which the running sum passes `target`; the last of positive weight should rounding leave none.
fn quantile(items: impl Iterator<Item = (usize, f32)>, target: f64) -> usize {
    let (mut sum, mut last) = (0f64, 0);
    for (id, weight) in items {
        if weight > 0.0 {
            sum += f64::from(weight);
            last = id;
            if sum > target {
                break;
            }
        }
    }
    last
}
