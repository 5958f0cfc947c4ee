//! How matrices are kept: on the CPU in bf16 where that loses nothing, for most checkpoints were written in it; on a card always.

use candle_core::{DType, Result, Tensor};

/// A matrix of f32 becomes bf16: on the CPU if bf16 holds every one of its numbers, on another device rounded. The kernels of `ops` read both
/// and give f32, so on the CPU nothing changes but the memory and the order of some sums.
pub(crate) fn as_kept(weight: Tensor) -> Result<Tensor> {
    let matrix = weight.rank() == 2 && weight.dtype() == DType::F32;
    if !matrix || (weight.device().is_cpu() && !is_exact(&weight)?) {
        return Ok(weight);
    }
    weight.to_dtype(DType::BF16)
}

fn is_exact(weight: &Tensor) -> Result<bool> {
    let values = weight.flatten_all()?.to_vec1::<f32>()?;
    Ok(values.iter().all(|value| value.to_bits() & 0xffff == 0))
}
