//! Weights are kept in half the memory where that loses nothing: most checkpoints were written in bf16.

use candle_core::{DType, Result, Tensor};

/// A matrix of f32 on the CPU becomes bf16 if bf16 holds every one of its numbers. The kernels of `ops` read both and compute in f32, so
/// nothing changes but the memory and the order of some sums.
pub(crate) fn halved_if_exact(weight: Tensor) -> Result<Tensor> {
    let candidate = weight.rank() == 2 && weight.dtype() == DType::F32;
    if !candidate || !weight.device().is_cpu() || !is_exact(&weight)? {
        return Ok(weight);
    }
    weight.to_dtype(DType::BF16)
}

fn is_exact(weight: &Tensor) -> Result<bool> {
    let values = weight.flatten_all()?.to_vec1::<f32>()?;
    Ok(values.iter().all(|value| value.to_bits() & 0xffff == 0))
}
