//! The arithmetic of products with frozen weights.

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
    /// decoding, are f32, but up to four rows times q8_0, q4_0 or q4_1 multiply the stored
    /// integers.
    Int16,
}
