//! The vocabulary head: log-probabilities and entropies of labels, and the KL divergence between
//! two models, without ever holding the logits [M, V] of all rows.

mod compared;
mod cpu;
mod cuda;
mod recomputed;
pub mod reference;
mod running;
mod scores;
mod sweep;

pub use scores::{ComparedScores, TokenScores};

use crate::Compute;
use crate::cpu::fused;
use crate::cuda::supports;
use crate::elements::{Frozen, width};
use crate::widen::cublas_reads;
use candle_core::{D, DType, Result, Tensor, bail};

/// Log-probabilities and entropies of `targets` from hidden states. `hidden` [M, d] (the states
/// *before* each target), `head` [V, d] frozen, `temperature` one per row (1 leaves the logits as
/// they are). Gradient to `hidden`.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// let hidden = Tensor::zeros((1, 4), DType::F32, &Device::Cpu)?;
/// let head = Tensor::ones((8, 4), DType::F32, &Device::Cpu)?;
/// let scores = ops::token_scores(&hidden, &head, &[3], &[1.0])?;
/// // all 8 tokens are equally likely
/// assert!((scores.logp.to_vec1::<f32>()?[0] + 8f32.ln()).abs() < 1e-6);
/// assert!((scores.entropy.to_vec1::<f32>()?[0] - 8f32.ln()).abs() < 1e-6);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn token_scores(
    hidden: &Tensor,
    head: &Tensor,
    targets: &[u32],
    temperature: &[f32],
) -> Result<TokenScores> {
    Compute::F32.token_scores(hidden, head, targets, temperature)
}

impl Compute {
    /// [`token_scores`](crate::token_scores) in this arithmetic.
    pub fn token_scores(
        self,
        hidden: &Tensor,
        head: &Tensor,
        targets: &[u32],
        temperature: &[f32],
    ) -> Result<TokenScores> {
        check(hidden, head, targets, temperature)?;
        let scores = if hidden.dim(0)? == 0 {
            hidden.sum_keepdim(D::Minus1)?.t()?.broadcast_as((2, 0))?
        } else if supports(&[hidden]) && cublas_reads(head) {
            cuda::token_scores(hidden, head, targets, temperature)?
        } else if fused(&[hidden]) && Frozen::reads(head) {
            cpu::token_scores(self, hidden, head, targets, temperature, false)?
        } else {
            recomputed::token_scores(hidden, head, targets, temperature)?
        };
        Ok(TokenScores {
            logp: scores.get(0)?,
            entropy: scores.get(1)?,
        })
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
        let (mut p, mut q) = (hidden_p.detach(), hidden_q.detach());
        if p.dtype() != q.dtype() {
            // the sampler keeps f32 states; those of a forward may be bf16
            (p, q) = (p.to_dtype(DType::F32)?, q.to_dtype(DType::F32)?);
        }
        check(&p, head, targets, temperature)?;
        check(&q, head, targets, temperature)?;
        let columns = if p.dim(0)? == 0 {
            Tensor::zeros((5, 0), DType::F32, p.device())?
        } else if supports(&[&p, &q]) && cublas_reads(head) {
            cuda::compared_scores(&p, &q, head, targets, temperature)?
        } else if fused(&[&p, &q]) && Frozen::reads(head) {
            compared::compared_scores(self, &p, &q, head, targets, temperature)?
        } else {
            reference::compared_scores(&p, &q, head, targets, temperature)?
        };
        let scores = |at| -> Result<TokenScores> {
            Ok(TokenScores {
                logp: columns.get(at)?,
                entropy: columns.get(at + 1)?,
            })
        };
        Ok(ComparedScores {
            p: scores(0)?,
            q: scores(2)?,
            kl: columns.get(4)?,
        })
    }
}

/// Log-probabilities `[M]` at temperature 1 with gradient to `hidden` [M, d] and to `head` [V, d]:
/// for training from scratch, where the head is the tied embedding.
pub fn token_scores_trainable(hidden: &Tensor, head: &Tensor, targets: &[u32]) -> Result<Tensor> {
    if hidden.dim(0)? > 0 && fused(&[hidden]) && Frozen::reads(head) {
        let temperature = vec![1.0; targets.len()];
        check(hidden, head, targets, &temperature)?;
        cpu::token_scores(Compute::F32, hidden, head, targets, &temperature, true)?.get(0)
    } else {
        reference::token_scores_trainable(hidden, head, targets)
    }
}

/// [`token_scores`] of two models that share a `head` [V, d], and the KL divergence between them,
/// in one sweep over the vocabulary. `hidden_p`, `hidden_q` [M, d].
pub fn compared_scores(
    hidden_p: &Tensor,
    hidden_q: &Tensor,
    head: &Tensor,
    targets: &[u32],
    temperature: &[f32],
) -> Result<ComparedScores> {
    Compute::F32.compared_scores(hidden_p, hidden_q, head, targets, temperature)
}

fn check(hidden: &Tensor, head: &Tensor, targets: &[u32], temperature: &[f32]) -> Result<()> {
    let ((m, d), (vocab, head_width)) = (hidden.dims2()?, (head.dim(0)?, width(head)?));
    if d != head_width || targets.len() != m || temperature.len() != m {
        bail!(
            "token_scores: hidden {:?}, head {:?}, {} targets and {} temperatures do not fit",
            hidden.dims(),
            head.dims(),
            targets.len(),
            temperature.len()
        )
    }
    if let Some(t) = targets.iter().find(|t| **t as usize >= vocab) {
        bail!("token_scores: target {t} is beyond the vocabulary of {vocab}")
    }
    Ok(())
}
