//! Drawing tokens from logits: by a CPU sampler, or by a CUDA kernel where the logits are on a GPU.
//!
//! Both apply temperature, then top-k, then top-p, as transformers' warpers in that order, and draw
//! by inverting the cumulative distribution in the order of token ids. The random number is the
//! caller's.

mod cpu;
mod cuda;
mod rule;
mod weights;

pub use cpu::sample_row;
pub use rule::{Drawn, SamplingRule};
pub use weights::{WEIGHTS_BLOCK, WeightSums, softmax_weights};

use crate::Compute;
use crate::cuda::supports;
use crate::linear::{gpu_logits, host_logits};
use candle_core::{Result, Tensor};
use rayon::prelude::*;

/// Logits [n, V] in f32, in the memory of the device that computed them. They record no graph.
pub struct Logits(Rows);

enum Rows {
    Host { values: Vec<f32>, vocab: usize },
    Gpu(Tensor),
}

impl Logits {
    /// No rows; the first `buffer` of [`Logits::compute`].
    pub fn empty() -> Self {
        let values = Vec::new();
        Self(Rows::Host { values, vocab: 0 })
    }

    /// `hidden · headᵀ`: `hidden` [n, d], `head` [V, d]. Reuses the memory of `buffer` where it
    /// can.
    pub fn compute(compute: Compute, hidden: &Tensor, head: &Tensor, buffer: Self) -> Result<Self> {
        if supports(&[hidden]) {
            return gpu_logits(hidden, head).map(Rows::Gpu).map(Self);
        }
        let mut values = match buffer.0 {
            Rows::Host { values, .. } => values,
            Rows::Gpu(_) => Vec::new(),
        };
        let vocab = head.dim(0)?;
        host_logits(compute, hidden, head, &mut values)?;
        Ok(Self(Rows::Host { values, vocab }))
    }

    /// Logits [n, V] that are already there, in f32.
    pub fn from_tensor(logits: &Tensor) -> Result<Self> {
        if supports(&[logits]) {
            return logits.contiguous().map(Rows::Gpu).map(Self);
        }
        let (values, vocab) = (logits.flatten_all()?.to_vec1()?, logits.dim(1)?);
        Ok(Self(Rows::Host { values, vocab }))
    }

    /// A copy of one row.
    pub fn row(&self, row: usize) -> Result<Self> {
        match &self.0 {
            Rows::Host { values, vocab } => Ok(Self(Rows::Host {
                values: values[row * vocab..(row + 1) * vocab].to_vec(),
                vocab: *vocab,
            })),
            Rows::Gpu(logits) => logits.narrow(0, row, 1)?.copy().map(Rows::Gpu).map(Self),
        }
    }

    /// Draws one token for each rule: from the row of the same index, or, where there is only one
    /// row, from that one. `None`: the logits of the row are not finite.
    pub fn sample(&self, rules: &[SamplingRule]) -> Result<Vec<Option<Drawn>>> {
        match &self.0 {
            Rows::Host { values, vocab } => Ok(rules
                .par_iter()
                .enumerate()
                .map(|(i, rule)| {
                    let only_one = values.len() == *vocab;
                    let start = if only_one { 0 } else { i * vocab };
                    sample_row(&values[start..start + vocab], rule)
                })
                .collect()),
            Rows::Gpu(logits) => {
                let logits = logits.broadcast_as((rules.len(), logits.dim(1)?))?;
                cuda::sample(&logits.contiguous()?, rules)
            }
        }
    }
}
