//! Widening a quantised weight on a GPU.

use crate::cuda::kernel::Kernel;
use crate::cuda::view::{OpenTensor, ViewMut, from_storage};
use crate::quantised_blocks::QuantisedBlocks;
use candle_core::{DType, Result, Tensor, bail};

/// The numbers of a quantised weight, [out, in], in bf16 or f32.
pub(super) fn widened(weight: &Tensor, dtype: DType) -> Result<Tensor> {
    let Some(format) = QuantisedBlocks::of(weight) else {
        bail!("ops: a weight {:?} is not quantised", weight.dims())
    };
    let shape = (weight.dim(0)?, weight.dim(1)? * format.numbers());
    let (open, n) = (OpenTensor::of(weight), shape.0 * shape.1);
    let bytes = open.view()?;
    let mut numbers = bytes.alloc(dtype, n)?;
    Kernel::element_wise(format!("widen_{}_{}", format.name(), dtype.as_str()), n)
        .read(bytes)
        .write(ViewMut::of(&mut numbers))
        .u64(n)
        .launch()?;
    Ok(from_storage(numbers, shape))
}
