//! Weights out of their blocks.

use crate::Blocks;
use crate::cuda::element_wise::{THREADS, blocks};
use crate::cuda::launch::Launch;
use crate::cuda::place::{Open, Target, tensor};
use candle_core::{DType, Result, Tensor, bail};

/// The numbers of a weight in blocks, [out, in], in bf16 or f32, where kernels run.
pub fn widened(weight: &Tensor, dtype: DType) -> Result<Tensor> {
    let Some(format) = Blocks::of(weight) else {
        bail!("ops: {:?} lies in no blocks", weight.dims())
    };
    let shape = (weight.dim(0)?, weight.dim(1)? * format.numbers());
    let (open, n) = (Open::of(weight), shape.0 * shape.1);
    let bytes = open.view()?;
    let mut numbers = bytes.room(dtype, n)?;
    let kernel = format!("widen_{}_{}", format.name(), dtype.as_str());
    Launch::new(kernel, blocks(n), THREADS)
        .read(bytes)
        .write(Target::of(&mut numbers))
        .u64(n)
        .run()?;
    Ok(tensor(numbers, shape))
}
