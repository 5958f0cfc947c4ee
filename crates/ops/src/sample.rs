//! What it takes to draw a token from a row of logits on a card, and what comes of it.

use crate::cuda;
use candle_core::{Result, Tensor};

/// How one row is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// 0 = greedy: the largest logit, the lowest id on ties
    pub temperature: f32,
    /// 0 = off
    pub top_k: usize,
    /// 1 = off
    pub top_p: f32,
    /// Which quantile of what top-k and top-p leave, in the order of ids; in [0, 1)
    pub u: f64,
}

/// A drawn token and what the distribution said of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drawn {
    pub id: u32,
    /// natural log, under `softmax(logits / temperature)` before top-k and top-p (greedy: temperature 1)
    pub logp: f32,
    /// entropy of the same distribution, nats
    pub entropy: f32,
    /// largest probability after top-k and top-p (greedy: of the whole distribution)
    pub max_prob: f32,
}

/// One draw from each row of `logits` [n, V], f32, on a card; a rule for each row. `None`: the row's logits are not finite.
pub fn sample(logits: &Tensor, rules: &[Rule]) -> Result<Vec<Option<Drawn>>> {
    cuda::sample(&logits.contiguous()?, rules)
}
