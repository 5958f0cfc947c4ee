//! Macro actions: runs of tokens treated as one action, and their advantages.
//!
//! MA-RLHF, Chai et al. 2025 (arXiv 2410.02743).

use super::gae::gae_of_actions;
use ops::Ragged;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The weights σ of V(macro) = Σ σ_i V(s_i).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueWeights {
    /// 1 / |w|
    Equal,
    /// The last token's value
    Last,
    /// (1 / (i+1)) / H_|w|: the first token has the largest weight
    Position,
}

impl ValueWeights {
    /// σ of a macro of `len` tokens; sums to 1.
    pub fn of(self, len: usize) -> Vec<f64> {
        match self {
            Self::Equal => vec![1.0 / len as f64; len],
            Self::Last => (0..len)
                .map(|i| f64::from(u8::from(i + 1 == len)))
                .collect(),
            Self::Position => {
                let harmonic: f64 = (1..=len).map(|i| 1.0 / i as f64).sum();
                (1..=len).map(|i| 1.0 / i as f64 / harmonic).collect()
            }
        }
    }
}

/// How the reward R_τ of a macro follows from those of its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RewardSum {
    /// Σ γ^i r_i
    Sum,
    /// Σ σ_i r_i, as in the authors' code: a KL penalty is then divided by the macro's length
    Mean,
}

/// Tokens of each macro. `starts` may span several rows, if the first token of each row is a start.
pub fn lens(starts: &[bool]) -> Vec<usize> {
    let mut lens = Vec::new();
    for start in starts {
        match lens.last_mut() {
            Some(len) if !start => *len += 1,
            _ => lens.push(1),
        }
    }
    lens
}

/// The starts of macros of these lengths in a row of `n` tokens. The remaining tokens are one
/// macro.
pub fn cut(n: usize, lengths: impl IntoIterator<Item = usize>) -> Vec<bool> {
    let mut starts = vec![false; n];
    let mut at = 0;
    for length in lengths {
        if at >= n {
            break;
        }
        starts[at] = true;
        at += length;
    }
    if let Some(start) = starts.get_mut(at) {
        *start = true;
    }
    starts
}

/// A new macro starts where the reference's perplexity rises: `−log p_ref` is above that of the
/// token before. `early`: one token earlier, as in the authors' code.
pub fn by_perplexity(logp_ref: &[f32], early: bool) -> Vec<bool> {
    let rises = |at: usize| at > 0 && at < logp_ref.len() && logp_ref[at] < logp_ref[at - 1];
    let start = |at: usize| at == 0 || rises(if early { at + 1 } else { at });
    (0..logp_ref.len()).map(start).collect()
}

/// A response as a semi-Markov decision process whose actions are macros.
///
/// ```text
/// V_τ = Σ σ_i V(s_i);                     δ_τ = R_τ + γ^|w_τ| V_{τ+1} − V_τ
/// A_τ = δ_τ + γ^|w_τ| λ A_{τ+1};          returns_τ = A_τ + V_τ
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Smdp {
    pub weights: ValueWeights,
    pub sum: RewardSum,
    /// Per token
    pub gamma: f64,
    pub lam: f64,
}

impl Smdp {
    /// R_τ and V_τ of a row's macros. `lens`: the tokens of each.
    pub fn actions(&self, rewards: &[f64], values: &[f64], lens: &[usize]) -> (Vec<f64>, Vec<f64>) {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let of = |tokens: Range<usize>| {
            let sigma = self.weights.of(tokens.len());
            let value = dot(&sigma, &values[tokens.clone()]);
            let of_rewards = match self.sum {
                RewardSum::Sum => (0..tokens.len() as i32)
                    .map(|i| self.gamma.powi(i))
                    .collect(),
                RewardSum::Mean => sigma,
            };
            (dot(&of_rewards, &rewards[tokens]), value)
        };
        Ragged::from_lens(lens).ranges().map(of).unzip()
    }

    /// Advantages and returns of a row's tokens, which are those of their macros.
    pub fn gae(&self, rewards: &[f64], values: &[f64], lens: &[usize]) -> (Vec<f64>, Vec<f64>) {
        let (rewards, values) = self.actions(rewards, values, lens);
        let discounts: Vec<f64> = lens.iter().map(|n| self.gamma.powi(*n as i32)).collect();
        let (advantages, returns) = gae_of_actions(&rewards, &values, &discounts, self.lam);
        let to_tokens = |of_macros: Vec<f64>| {
            let each = of_macros.into_iter().zip(lens);
            each.flat_map(|(x, n)| std::iter::repeat_n(x, *n)).collect()
        };
        (to_tokens(advantages), to_tokens(returns))
    }
}
