//! AdamW as a composition of candle's operations: the reference of the tests, and what devices and
//! dtypes without a fused form run.

use super::step::AdamWStep;
use candle_core::{Result, Tensor};

/// [`crate::adamw`] on any device, in any dtype.
pub fn adamw(
    param: &Tensor,
    first: &Tensor,
    second: &Tensor,
    grad: &Tensor,
    step: &AdamWStep,
) -> Result<()> {
    let set = |to: &Tensor, from: Tensor| to.slice_set(&from.contiguous()?, 0, 0);
    let grad = (grad.to_dtype(first.dtype())? * step.grad_scale)?;
    let (m, v) = (first.detach().copy()?, second.detach().copy()?);
    let m = (&m + ((&grad - &m)? * (1.0 - step.beta1))?)?;
    let v = ((v * step.beta2)? + (grad.sqr()? * (1.0 - step.beta2))?)?;
    let denominator = ((v.sqrt()? / step.correction2)? + step.eps)?;
    let new = (param.detach().to_dtype(m.dtype())? * step.keep)?;
    let new = (new - ((&m / denominator)? * step.step_size)?)?;
    set(first, m)?;
    set(second, v)?;
    set(param, new.to_dtype(param.dtype())?)
}
