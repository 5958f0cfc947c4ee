//! One row of the training data.

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
        match n(&self.chosen).cmp(&n(&self.rejected)) {
            std::cmp::Ordering::Greater => 1.0,
            std::cmp::Ordering::Equal => 0.5,
            std::cmp::Ordering::Less => 0.0,
        }
    }
}
