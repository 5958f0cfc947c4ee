//! One draw from one row of logits in main memory.

use super::rule::{Drawn, SamplingRule};
use super::weights::{WEIGHTS_BLOCK, WeightSums, softmax_weights};

/// Draws one token from the logits of one row. `None`: they are not finite.
///
/// top-k keeps every logit not below the k-th largest, so ties at the edge stay. top-p then keeps a
/// token when the mass ranked above it, renormalised after top-k, is less than `top_p`; the first
/// is always kept. The quantile runs over the kept tokens in the order of their ids. Sums are f64.
///
/// ```
/// use ops::{SamplingRule, sample_row};
/// let rule = SamplingRule { temperature: 1.0, top_k: 2, top_p: 1.0, u: 0.9 };
/// let drawn = sample_row(&[0.0, 2.0, 2.0], &rule).expect("finite logits");
/// // top-k leaves 1 and 2, with equal probability
/// assert_eq!((drawn.id, drawn.max_prob), (2, 0.5));
/// ```
pub fn sample_row(logits: &[f32], rule: &SamplingRule) -> Option<Drawn> {
    let temperature = if rule.is_greedy() {
        1.0
    } else {
        rule.temperature
    };
    let mut weights = Vec::new();
    let sums = softmax_weights(logits, temperature, &mut weights)?;
    let (top, sum, weighted) = (sums.top, sums.total(), sums.weighted);
    if !sum.is_finite() {
        return None;
    }
    let (id, kept) = if rule.is_greedy() {
        (top, sum)
    } else {
        pick(&weights, &sums, rule)
    };
    let x = f64::from((logits[id] - logits[top]) / temperature);
    Some(Drawn {
        id: id as u32,
        logp: (x - sum.ln()) as f32,
        entropy: (sum.ln() - weighted / sum) as f32,
        max_prob: (1.0 / kept) as f32,
    })
}

/// The token at the rule's quantile of the truncated weights, and the mass that was kept, in units
/// of the largest weight.
fn pick(weights: &[f32], sums: &WeightSums, rule: &SamplingRule) -> (usize, f64) {
    let (vocab, sum, u) = (weights.len(), sums.total(), rule.u);
    let top_k = match rule.top_k {
        0 => vocab,
        k => k.min(vocab),
    };
    if top_k == vocab && rule.top_p >= 1.0 {
        return (whole_quantile(weights, sums, u * sum), sum);
    }
    let mut kept = truncate(weights, sum, top_k, f64::from(rule.top_p));
    kept.sort_unstable_by_key(|(id, _)| *id);
    let mass = kept.iter().map(|(_, w)| f64::from(*w)).sum();
    (quantile(kept.into_iter(), u * mass), mass)
}

/// The tokens left by top-k and top-p, in descending order (the lower id first on ties).
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
    // sort only the head of a long tail
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

/// [`quantile`] over all weights: finds the block by its sum first.
fn whole_quantile(weights: &[f32], sums: &WeightSums, target: f64) -> usize {
    let (mut before, mut block) = (0.0, 0);
    while block + 1 < sums.blocks.len() && before + sums.blocks[block] <= target {
        before += sums.blocks[block];
        block += 1;
    }
    // rounding may leave nothing in the block: then take the last token before it with a positive
    // weight
    let items = |from: usize, to: usize| weights[from..to].iter().copied().enumerate();
    let start = block * WEIGHTS_BLOCK;
    let end = (start + WEIGHTS_BLOCK).min(weights.len());
    if weights[start..end].iter().any(|w| *w > 0.0) {
        start + quantile(items(start, end), target - before)
    } else {
        quantile(items(0, start), f64::INFINITY)
    }
}

/// The first item at which the running sum passes `target`; if rounding leaves none, the last one
/// with a positive weight.
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
