//! Drawing tokens from logits: by a CPU sampler, or by a CUDA kernel where the logits are on a GPU.
//!
//! Both apply temperature, then top-k, then top-p, as transformers' warpers in that order, and draw by
//! inverting the cumulative distribution in the order of token ids. The random number is the caller's.

mod cpu;
mod cuda;
mod weights;

pub use cpu::sample_row;
pub use weights::{WEIGHTS_BLOCK, WeightSums, softmax_weights};

use crate::cpu::fused;
use crate::elements::Frozen;
use crate::{cuda as gpu, linear};
use candle_core::{DType, Result, Tensor};
use rayon::prelude::*;

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
    /// natural log, under `softmax(logits / temperature)` before top-k and top-p (greedy: temperature 1)
    pub logp: f32,
    /// entropy of the same distribution, nats
    pub entropy: f32,
    /// largest probability after top-k and top-p (greedy: of the whole distribution)
    pub max_prob: f32,
}

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

    /// `hidden · headᵀ`: `hidden` [n, d], `head` [V, d]. Reuses the memory of `buffer` where it can.
    pub fn compute(hidden: &Tensor, head: &Tensor, buffer: Self) -> Result<Self> {
        if gpu::supports(&[hidden]) {
            return gpu::logits(hidden, head).map(Rows::Gpu).map(Self);
        }
        let mut values = match buffer.0 {
            Rows::Host { values, .. } => values,
            Rows::Gpu(_) => Vec::new(),
        };
        let vocab = head.dim(0)?;
        if fused(&[hidden]) && Frozen::reads(head) {
            linear::logits(hidden, head, &mut values)?;
        } else {
            let logits = crate::frozen_linear(hidden, head)?;
            values = logits.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        }
        Ok(Self(Rows::Host { values, vocab }))
    }

    /// Logits [n, V] that are already there, in f32.
    pub fn from_tensor(logits: &Tensor) -> Result<Self> {
        if gpu::supports(&[logits]) {
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

    /// Draws one token for each rule: from the row of the same index, or, where there is only one row, from
    /// that one. `None`: the logits of the row are not finite.
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
