//! The policy's capability at a prompt (ESRL Eq. 6 and 7), and the number of samples and the
//! temperature that follow from it (Eq. 8 and 9).

use super::mean;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// Mean reward of the prompt's samples
    Reward,
    /// Eq. 7: from the probabilities of the sampled tokens alone
    Entropy,
    /// Eq. 7 with the sum over the whole vocabulary: 1 − mean entropy
    FullEntropy,
    /// Eq. 6: mean sentence BLEU, 0..1
    Bleu,
    /// Eq. 6 with ROUGE-L, 0..1
    Rouge,
    /// None: the number of samples is uniform in 1..=k_max
    Random,
}

/// How the capabilities of a batch are mapped before Eq. 8, which needs positive numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalisation {
    None,
    /// (c − min) / (max − min) over the batch; all 1 where all are equal
    MinMax,
    /// 1 / (1 + e^−c)
    Sigmoid,
}

/// Eq. 7 of one response: `1 + mean_t p_t ln p_t`, p the probability of the sampled token.
///
/// In [1 − 1/e, 1]; 1 for no tokens.
pub fn sampled_entropy(logps: &[f32]) -> f64 {
    let terms = logps.iter().map(|l| f64::from(*l));
    let terms: Vec<f64> = terms
        .map(|l| {
            if l == f64::NEG_INFINITY {
                0.0
            } else {
                l.exp() * l
            }
        })
        .collect();
    1.0 + mean(&terms)
}

/// `1 − mean_t H_t` of one response, H in nats. At most 1, may be negative; 1 for no tokens.
pub fn full_entropy(entropies: &[f32]) -> f64 {
    1.0 - mean(&entropies.iter().map(|h| f64::from(*h)).collect::<Vec<_>>())
}

/// The confidence of one response in the released code: `1 + mean_t e^p p`, p the largest
/// next-token probability. In [1, 1 + e].
pub fn released_confidence(max_probs: &[f32]) -> f64 {
    let terms = max_probs.iter().map(|p| f64::from(*p));
    1.0 + mean(&terms.map(|p| p.exp() * p).collect::<Vec<_>>())
}

/// Capabilities mapped by `by`, one per prompt.
pub fn normalise(capability: &[f64], by: Normalisation) -> Vec<f64> {
    match by {
        Normalisation::None => capability.to_vec(),
        Normalisation::Sigmoid => capability
            .iter()
            .map(|c| 1.0 / (1.0 + (-c).exp()))
            .collect(),
        Normalisation::MinMax => {
            let min = capability.iter().copied().fold(f64::INFINITY, f64::min);
            let max = capability.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let scaled = |c: &f64| {
                if max > min {
                    (c - min) / (max - min)
                } else {
                    1.0
                }
            };
            capability.iter().map(scaled).collect()
        }
    }
}

/// How the numbers of Eq. 8 become whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rounding {
    /// The paper's ceiling: Σk is up to n more than (1 − β) n k_max, and more where k is clamped
    Ceil,
    /// By largest remainder: Σk is (1 − β) n k_max, rounded, as far as floor and maximum allow
    LargestRemainder,
}

/// Eq. 8: `k_x = ⌈k_max − β n k_max Cap_x / Σ Cap⌉`, within `k_floor..=k_max`.
///
/// Where Σ Cap is not positive and finite the equation is undefined, and all prompts get the same.
pub fn samples(
    capability: &[f64],
    (k_floor, k_max): (usize, usize),
    beta: f64,
    rounding: Rounding,
) -> Vec<usize> {
    let n = capability.len() as f64;
    let sum: f64 = capability.iter().sum();
    let defined = sum > 0.0 && sum.is_finite();
    let share = |c: f64| if defined { n * c / sum } else { 1.0 };
    let (low, high) = (k_floor as f64, k_max as f64);
    let wanted: Vec<f64> = capability
        .iter()
        .map(|c| high - beta * high * share(*c))
        .collect();
    match rounding {
        // 1e-9: rounding error must not round a whole number up
        Rounding::Ceil => wanted
            .iter()
            .map(|k| (k - 1e-9).ceil().clamp(low, high) as usize)
            .collect(),
        Rounding::LargestRemainder => {
            let total = ((1.0 - beta) * n * high).round() as usize;
            apportion(&wanted, (k_floor, k_max), total)
        }
    }
}

/// Whole numbers within `low..=high` that sum to `total`, or as near as the bounds allow: each
/// unit goes to (or comes from) the number that is furthest from what is wanted, the first of
/// equal ones.
fn apportion(wanted: &[f64], (low, high): (usize, usize), total: usize) -> Vec<usize> {
    let clamped = |k: f64| (k + 1e-9).floor().clamp(low as f64, high as f64) as usize;
    let mut k: Vec<usize> = wanted.iter().map(|k| clamped(*k)).collect();
    let missing = |k: &[usize], i: usize| wanted[i] - k[i] as f64;
    let furthest = |k: &[usize], sign: f64, may: &dyn Fn(usize) -> bool| {
        let of = |i: usize| sign * missing(k, i);
        let candidates = (0..k.len()).filter(|i| may(k[*i]));
        candidates.reduce(|best, i| if of(i) > of(best) + 1e-9 { i } else { best })
    };
    let mut sum: usize = k.iter().sum();
    while sum < total {
        let Some(i) = furthest(&k, 1.0, &|k| k < high) else {
            break;
        };
        k[i] += 1;
        sum += 1;
    }
    while sum > total {
        let Some(i) = furthest(&k, -1.0, &|k| k > low) else {
            break;
        };
        k[i] -= 1;
        sum -= 1;
    }
    k
}

/// Eq. 9: `τ_x = τ_min + k_x (τ_max − τ_min) / k_max`.
pub fn temperature(k: usize, k_max: usize, tau_min: f64, tau_max: f64) -> f64 {
    tau_min + k as f64 * (tau_max - tau_min) / k_max as f64
}
