//! Macro actions: runs of tokens that act as one (MA-RLHF, Chai et al. 2025, arXiv 2410.02743), and their advantages.

use serde::{Deserialize, Serialize};
use std::ops::Range;

/// σ of V(macro) = Σ σ_i V(s_i).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueWeights {
    /// 1 / |w|
    Equal,
    /// The last token's value
    Last,
    /// (1 / (i+1)) / H_|w|: the first counts most
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

/// A macro's reward from those of its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RewardSum {
    /// Σ γ^i r_i
    Sum,
    /// Σ σ_i r_i, as the authors' code: a KL penalty is then divided by the macro's length
    Mean,
}

/// The macros of a row as ranges of its tokens. The first token always begins one.
pub fn macros(starts: &[bool]) -> Vec<Range<usize>> {
    let mut out: Vec<Range<usize>> = Vec::new();
    for (at, start) in starts.iter().enumerate() {
        match out.last_mut() {
            Some(last) if !start => last.end = at + 1,
            _ => out.push(at..at + 1),
        }
    }
    out
}

/// Where a row of `n` tokens is cut: macros of these lengths, the rest one macro.
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

/// A new macro where the reference finds a token harder than the one before it: `−log p_ref` rises. `early`: one token earlier,
/// as in the authors' code.
pub fn by_perplexity(logp_ref: &[f32], early: bool) -> Vec<bool> {
    let rises = |at: usize| at > 0 && at < logp_ref.len() && logp_ref[at] < logp_ref[at - 1];
    let start = |at: usize| at == 0 || rises(if early { at + 1 } else { at });
    (0..logp_ref.len()).map(start).collect()
}

/// Generalised advantage estimation over the macros of one row; every token has its macro's advantage and return.
///
/// ```text
/// V_τ = Σ σ_i V(s_i);  δ_τ = R_τ + γ^|w_τ| V_{τ+1} − V_τ;  A_τ = δ_τ + γ^|w_τ| λ A_{τ+1};  returns_τ = A_τ + V_τ
/// ```
pub fn gae(
    rewards: &[f64],
    values: &[f64],
    macros: &[Range<usize>],
    (gamma, lam): (f64, f64),
    weights: ValueWeights,
    sum: RewardSum,
) -> (Vec<f64>, Vec<f64>) {
    let mut advantages = vec![0.0; rewards.len()];
    let mut returns = vec![0.0; rewards.len()];
    let (mut next_value, mut next_advantage) = (0.0, 0.0);
    for tokens in macros.iter().rev() {
        let sigma = weights.of(tokens.len());
        let of = |x: &[f64], weight: &dyn Fn(usize) -> f64| -> f64 {
            let terms = x[tokens.clone()].iter().enumerate();
            terms.map(|(i, x)| weight(i) * x).sum()
        };
        let value = of(values, &|i| sigma[i]);
        let reward = match sum {
            RewardSum::Sum => of(rewards, &|i| gamma.powi(i as i32)),
            RewardSum::Mean => of(rewards, &|i| sigma[i]),
        };
        let discount = gamma.powi(tokens.len() as i32);
        let delta = reward + discount * next_value - value;
        next_advantage = delta + discount * lam * next_advantage;
        next_value = value;
        advantages[tokens.clone()].fill(next_advantage);
        returns[tokens.clone()].fill(next_advantage + value);
    }
    (advantages, returns)
}
