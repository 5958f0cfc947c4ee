//! The arithmetic of products with frozen weights.

use crate::head::{ComparedScores, TokenScores, compared_scores_with, token_scores_with};
use crate::linear::{added_linear_with, frozen_linear_with, lora_linear_with};
use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

/// The arithmetic of products with frozen weights on the CPU, forward and backward. Low-rank
/// additions, norms, attention, softmax and sums are f32 in both. A GPU computes at the precision
/// of the weight whatever this says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compute {
    /// f32
    #[default]
    F32,
    /// Blocks of 128 integers of 13 bits with a scale each, summed exactly within a block. More
    /// exact than bf16, and twice the rate of f32 with AVX-512 VNNI. Products of few rows, as in
    /// decoding, are f32.
    Int16,
}

impl Compute {
    /// [`frozen_linear`](crate::frozen_linear) in this arithmetic.
    pub fn frozen_linear(self, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
        frozen_linear_with(self, x, weight)
    }

    /// [`added_linear`](crate::added_linear) in this arithmetic.
    pub fn added_linear(self, residual: &Tensor, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
        added_linear_with(self, residual, x, weight)
    }

    /// [`lora_linear`](crate::lora_linear) in this arithmetic.
    pub fn lora_linear(
        self,
        x: &Tensor,
        x_lora: &Tensor,
        w: &Tensor,
        a: &Tensor,
        b: &Tensor,
        scale: f64,
    ) -> Result<Tensor> {
        lora_linear_with(self, x, x_lora, w, a, b, scale)
    }

    /// [`token_scores`](crate::token_scores) in this arithmetic.
    pub fn token_scores(
        self,
        hidden: &Tensor,
        head: &Tensor,
        targets: &[u32],
        temperature: &[f32],
    ) -> Result<TokenScores> {
        token_scores_with(self, hidden, head, targets, temperature)
    }

    /// [`compared_scores`](crate::compared_scores) in this arithmetic.
    pub fn compared_scores(
        self,
        hidden_p: &Tensor,
        hidden_q: &Tensor,
        head: &Tensor,
        targets: &[u32],
        temperature: &[f32],
    ) -> Result<ComparedScores> {
        compared_scores_with(self, hidden_p, hidden_q, head, targets, temperature)
    }
}
