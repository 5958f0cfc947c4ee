//! The vocabulary head as a composition of candle's operations: the reference of the tests, and
//! what devices and dtypes without a fused form run.

use super::scores::TokenScores;
use crate::linear::frozen_linear;
use candle_core::{D, DType, Device, Result, Tensor};

/// Rows of hidden states per chunk, so that a chunk's logits stay near 16 MiB of f32.
pub(super) fn chunk_rows(vocab: usize) -> usize {
    (4 * 1024 * 1024 / vocab.max(1)).max(1)
}

/// [`crate::token_scores`] on any device; a graph of all chunks is kept.
pub fn token_scores(
    hidden: &Tensor,
    head: &Tensor,
    targets: &[u32],
    temperature: &[f32],
) -> Result<TokenScores> {
    let (m, chunk) = (hidden.dim(0)?, chunk_rows(head.dim(0)?));
    let (mut logps, mut entropies) = (Vec::new(), Vec::new());
    for start in (0..m).step_by(chunk) {
        let n = chunk.min(m - start);
        let logits = frozen_linear(&hidden.narrow(0, start, n)?, head)?;
        let logp = log_softmax(&logits, &temperature[start..start + n], hidden.device())?; // [n, V]
        let at = Tensor::new(&targets[start..start + n], hidden.device())?.unsqueeze(1)?;
        logps.push(logp.gather(&at, 1)?.squeeze(1)?);
        entropies.push((logp.exp()? * &logp)?.sum(D::Minus1)?.neg()?);
    }
    Ok(TokenScores {
        logp: Tensor::cat(&logps, 0)?,
        entropy: Tensor::cat(&entropies, 0)?,
    })
}

/// [`crate::token_scores_trainable`] on any device.
pub fn token_scores_trainable(hidden: &Tensor, head: &Tensor, targets: &[u32]) -> Result<Tensor> {
    let (m, chunk) = (hidden.dim(0)?, chunk_rows(head.dim(0)?));
    let mut logps = Vec::new();
    for start in (0..m).step_by(chunk) {
        let n = chunk.min(m - start);
        let logits = hidden.narrow(0, start, n)?.matmul(&head.t()?)?;
        let logp = log_softmax(&logits, &vec![1.0; n], hidden.device())?; // [n, V]
        let at = Tensor::new(&targets[start..start + n], hidden.device())?.unsqueeze(1)?;
        logps.push(logp.gather(&at, 1)?.squeeze(1)?);
    }
    if logps.is_empty() {
        return hidden.sum(D::Minus1);
    }
    Tensor::cat(&logps, 0)
}

/// [5, M]: log-probability and entropy under p, the same under q, and KL(p ‖ q).
pub fn compared_scores(
    hidden_p: &Tensor,
    hidden_q: &Tensor,
    head: &Tensor,
    targets: &[u32],
    temperature: &[f32],
) -> Result<Tensor> {
    let (p, q) = (hidden_p.detach(), hidden_q.detach());
    let (m, chunk) = (p.dim(0)?, chunk_rows(head.dim(0)?));
    let mut kl = Vec::new();
    for start in (0..m).step_by(chunk) {
        let n = chunk.min(m - start);
        let logps = |x: &Tensor| {
            let logits = frozen_linear(&x.narrow(0, start, n)?, head)?;
            log_softmax(&logits, &temperature[start..start + n], x.device())
        };
        let (lp, lq) = (logps(&p)?, logps(&q)?);
        kl.push((lp.exp()? * (lp - lq)?)?.sum(D::Minus1)?);
    }
    let mut columns = Vec::new();
    for hidden in [&p, &q] {
        let scores = token_scores(hidden, head, targets, temperature)?;
        columns.extend([scores.logp, scores.entropy]);
    }
    columns.push(Tensor::cat(&kl, 0)?);
    Tensor::stack(&columns, 0)
}

/// log softmax over the last dimension of `logits / temperature`, f32.
fn log_softmax(logits: &Tensor, temperature: &[f32], device: &Device) -> Result<Tensor> {
    let t = Tensor::new(temperature, device)?.unsqueeze(1)?;
    let logits = if logits.dtype() == DType::F64 {
        logits.clone()
    } else {
        logits.to_dtype(DType::F32)?
    };
    let x = logits.broadcast_div(&t.to_dtype(logits.dtype())?)?;
    let x = x.broadcast_sub(&x.detach().max_keepdim(D::Minus1)?)?;
    x.broadcast_sub(&x.exp()?.sum_keepdim(D::Minus1)?.log()?)
}
