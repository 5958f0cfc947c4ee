//! Quantised weights as plain numbers.
//!
//! CPU kernels unpack blocks on the way to a register or a panel; a GPU widens a weight to bf16 for
//! one product. A gradient goes through the widened numbers to the input, none to the weight:
//! Dettmers et al. 2023 (QLoRA), Eq. 5 and 6.

mod cuda;

use crate::cpu::{Shared, for_rows, uninit};
use crate::cuda::is_on_gpu;
use crate::elements::{Elements, Frozen, width};
use crate::quantised_blocks::QuantisedBlocks;
use crate::simd::{Lanes, dispatch};
use candle_core::{DType, Device, Result, Tensor};

/// A quantised weight as f32; any other weight as it is. No gradient.
pub fn widened(weight: &Tensor) -> Result<Tensor> {
    match QuantisedBlocks::of(weight) {
        Some(_) => numbers(weight),
        None => Ok(weight.detach()),
    }
}

/// Rows of an embedding [V, d] that may be quantised. `ids` `[N]`. Result [N, d].
pub fn embedding(weight: &Tensor, ids: &Tensor) -> Result<Tensor> {
    let rows = weight.index_select(ids, 0)?;
    match QuantisedBlocks::of(weight) {
        Some(_) => widened(&rows),
        None => Ok(rows),
    }
}

/// The numbers of a quantised weight, [out, in], f32.
fn numbers(weight: &Tensor) -> Result<Tensor> {
    let weight = weight.contiguous()?;
    if is_on_gpu(&[&weight]) {
        return cuda::widened(&weight, DType::F32);
    }
    let (rows, width) = (weight.dim(0)?, width(&weight)?);
    let open = Frozen::of(&weight)?;
    // SAFETY: every row is written.
    let mut numbers = unsafe { uninit(rows * width) };
    let out = Shared::new(&mut numbers);
    for_rows(rows, width, |_, rows| {
        // SAFETY: the tasks' rows are disjoint.
        let out = unsafe { out.part(rows.start * width..rows.end * width) };
        widen_rows(open.elements(), rows.start, width, out);
    });
    Tensor::from_vec(numbers, (rows, width), &Device::Cpu)
}

/// A quantised weight on a GPU, [out, in], in bf16 or f32. Public for the tests of the kernel.
pub fn widened_by_kernel(weight: &Tensor, dtype: DType) -> Result<Tensor> {
    cuda::widened(weight, dtype)
}

/// Whether cuBLAS can multiply by a frozen weight, as it is or widened for one product.
pub(crate) fn cublas_reads(weight: &Tensor) -> bool {
    matches!(weight.dtype(), DType::F32 | DType::BF16) || QuantisedBlocks::of(weight).is_some()
}

/// The weight that cuBLAS multiplies by: a quantised one is widened to bf16 for one product.
pub(crate) fn for_product(weight: &Tensor) -> Result<Tensor> {
    match QuantisedBlocks::of(weight) {
        Some(_) => cuda::widened(&weight.contiguous()?, DType::BF16),
        None => Ok(weight.clone()),
    }
}

/// Rows of `width` numbers from row `first` on.
#[inline(always)]
unsafe fn rows_kernel<L: Lanes>(w: Elements, first: usize, width: usize, out: &mut [f32]) {
    for (i, out) in out.chunks_exact_mut(width.max(1)).enumerate() {
        // SAFETY: the caller is inside a `dispatch!` function.
        unsafe { w.widen::<L>((first + i) * width, out) };
    }
}
dispatch!(fn widen_rows = rows_kernel(w: Elements, first: usize, width: usize, out: &mut [f32]));
