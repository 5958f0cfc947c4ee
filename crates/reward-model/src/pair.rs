//! One row of the training data.

use candle_core::{Result, Tensor};
use data::Example;
use serde::Serialize;

/// A chosen and a rejected answer to one prompt, tokenised.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Pair {
    pub chosen: Example,
    pub rejected: Example,
}

impl Pair {
    /// Tokens of both answers, each with the prompt: its size when batches are split.
    pub fn tokens(&self) -> usize {
        self.chosen.ids.len() + self.rejected.ids.len()
    }

    /// 1 if the rule "the longer answer wins" is right, 0 if wrong, ½ for equal lengths.
    pub fn longer_wins(&self) -> f64 {
        let n = |e: &Example| e.ids.len() - e.prompt_len;
        ranked_right(n(&self.chosen) as f32 - n(&self.rejected) as f32)
    }
}

/// The loss of pairs, `-log σ(margin)`, where a margin is the chosen answer's score less the
/// rejected one's.
pub fn neg_log_sigmoid(margin: &Tensor) -> Result<Tensor> {
    ops::softplus(&margin.neg()?)
}

/// 1 if the chosen answer has more, 0 if less, ½ for a tie: `score` counts the same.
pub fn ranked_right(margin: f32) -> f64 {
    match margin {
        m if m > 0.0 => 1.0,
        0.0 => 0.5,
        _ => 0.0,
    }
}
