//! One row of the training data.

use anyhow::Result;
use candle_core::Tensor;
use data::{Example, Examples, Mixture, Shape};
use planning::{RowSize, Unit};
use serde::Serialize;
use std::ops::Range;
use train::Rows;

/// A chosen and a rejected answer to one prompt, tokenised.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Pair {
    pub chosen: Example,
    pub rejected: Example,
}

/// The rows to learn from or to evaluate on.
pub(crate) struct Pairs(pub Examples<2>);

impl Pairs {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The sizes of a pair. Its answers share their prompt in a forward; `row` tells it apart.
    pub fn unit(&self, row: usize) -> Unit {
        let prompt = (row as u64, self.0.shape(row)[0].prompt_len as usize);
        let row = |answer: Shape| RowSize {
            prompt,
            response: answer.tokens() - prompt.1,
        };
        self.0.shape(prompt.0 as usize).map(row).to_vec()
    }

    /// Tokens of both answers, each with the prompt.
    pub fn tokens(&self, row: usize) -> usize {
        self.0.shape(row).iter().map(Shape::tokens).sum()
    }

    /// The pairs of these numbers.
    pub fn read(&self, rows: Range<usize>) -> Result<Vec<Pair>> {
        rows.map(|row| self.get(row)).collect()
    }
}

impl Rows for Pairs {
    type Item = Pair;

    fn mixture(&self) -> Mixture {
        self.0.mixture()
    }

    fn get(&self, row: usize) -> Result<Pair> {
        let [chosen, rejected] = self.0.get(row)?;
        Ok(Pair { chosen, rejected })
    }
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
pub fn neg_log_sigmoid(margin: &Tensor) -> candle_core::Result<Tensor> {
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
