//! How a token is drawn, and what is returned with it.

/// How one token is drawn from a row of logits.
#[derive(Clone, Copy, Debug)]
pub struct SamplingRule {
    /// 0 = greedy: the largest logit, the lowest id on ties
    pub temperature: f32,
    /// 0 = off
    pub top_k: usize,
    /// 1 = off
    pub top_p: f32,
    /// A uniform random number in [0, 1): the quantile to draw. Greedy sampling ignores it.
    pub u: f64,
}

impl SamplingRule {
    /// Whether the largest logit is taken and no random number is used.
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0
    }
}

/// A drawn token and statistics of its distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drawn {
    pub id: u32,
    /// natural log, under `softmax(logits / temperature)` before top-k and top-p (greedy:
    /// temperature 1)
    pub logp: f32,
    /// entropy of the same distribution, nats
    pub entropy: f32,
    /// largest probability after top-k and top-p (greedy: of the whole distribution)
    pub max_prob: f32,
}
