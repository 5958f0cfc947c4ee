//! The vocabulary head on devices and dtypes without a fused form: the reference, chunk by chunk,
//! dropped after forward and recomputed for the gradient, so that the logits of one chunk are alive
//! at a time.

use super::reference;
use crate::checkpoint::{cpu_copy, cuda_copy};
use candle_core::{CpuStorage, CudaStorage, CustomOp1, Layout, Result, Shape, Tensor, Var, bail};
use std::sync::Arc;

/// [2, M]: log-probabilities, then entropies. Gradient to `hidden`.
pub(super) fn token_scores(
    hidden: &Tensor,
    head: &Tensor,
    targets: &[u32],
    temperature: &[f32],
) -> Result<Tensor> {
    let op = Scores {
        head: head.detach(),
        targets: targets.into(),
        temperature: temperature.into(),
        scores: stacked(&hidden.detach(), &head.detach(), targets, temperature)?,
    };
    hidden.apply_op1(op)
}

/// [2, n], with a graph if `hidden` has one.
fn stacked(hidden: &Tensor, head: &Tensor, targets: &[u32], temperature: &[f32]) -> Result<Tensor> {
    let scores = reference::token_scores(hidden, head, targets, temperature)?;
    Tensor::stack(&[scores.logp, scores.entropy], 0)
}

struct Scores {
    head: Tensor,
    targets: Arc<[u32]>,
    temperature: Arc<[f32]>,
    /// The result, computed before the op is applied to its input.
    scores: Tensor,
}

impl CustomOp1 for Scores {
    fn name(&self) -> &'static str {
        "token-scores-recomputed"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        cpu_copy(&self.scores)
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        cuda_copy(&self.scores)
    }

    fn bwd(&self, hidden: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (m, step) = (hidden.dim(0)?, reference::chunk_rows(self.head.dim(0)?));
        let mut parts = Vec::new();
        for start in (0..m).step_by(step) {
            let n = step.min(m - start);
            let part = Var::from_tensor(&hidden.detach().narrow(0, start, n)?)?;
            let (targets, temperature) = (
                &self.targets[start..start + n],
                &self.temperature[start..start + n],
            );
            let scores = stacked(part.as_tensor(), &self.head, targets, temperature)?;
            let loss = (scores * grad.narrow(1, start, n)?)?.sum_all()?;
            match loss.backward()?.remove(part.as_tensor()) {
                Some(grad) => parts.push(grad),
                None => bail!("token_scores: no gradient reached the hidden states"),
            }
        }
        Tensor::cat(&parts, 0).map(Some)
    }
}
