//! What the vocabulary head computes for labels.

use candle_core::Tensor;

/// Log-probability and entropy of each label's distribution, f32.
pub struct TokenScores {
    /// log-probability of the label under `softmax(logits / temperature)`, `[M]`, natural log.
    /// Carries gradient.
    pub logp: Tensor,
    /// entropy of the same distribution, `[M]`, nats. Carries gradient.
    pub entropy: Tensor,
}

/// Two distributions over the vocabulary at each label, f32, no gradient.
pub struct ComparedScores {
    pub p: TokenScores,
    pub q: TokenScores,
    /// exact KL(p ‖ q), `[M]`, nats
    pub kl: Tensor,
}
