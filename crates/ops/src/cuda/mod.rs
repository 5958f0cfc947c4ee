//! The operations on a CUDA card, by kernels of our own (`crates/ops/kernels`) and cuBLAS. Activations are bf16 or f32, all statistics, sums
//! and products f32; a result is the same each time, for nothing is added up by atomics.
//!
//! Tests without a card run the same kernels, and all of this module but one call of the driver, through an [`Emulator`].

mod adamw;
mod attention;
mod decode;
mod drop_out;
mod element_wise;
mod gemm;
mod head;
mod launch;
mod linear;
mod node;
pub(crate) mod place;
mod rms_norm;
mod sample;
mod upload;
mod widen;

pub(crate) use adamw::adamw;
pub use attention::HEAD_DIMS;
pub(crate) use attention::causal_attention;
pub(crate) use decode::{cached_attention, rotate_into, scatter_rows};
pub use drop_out::drop_out;
pub(crate) use element_wise::{rope, swiglu};
pub(crate) use head::{compared_scores, token_scores};
#[cfg(feature = "cuda")]
pub(crate) use launch::KERNELS;
pub(crate) use launch::emulating;
pub use launch::{Emulator, emulated};
pub use linear::logits;
pub(crate) use linear::{added_linear, frozen_linear, lora_linear};
pub(crate) use rms_norm::rms_norm;
pub(crate) use sample::sample;
pub use widen::widened;

use crate::Blocks;
use candle_core::{DType, Result, Tensor};

/// Whether the tensors are where kernels run: on a card, or anywhere while [`emulated`] runs.
pub(crate) fn here(tensors: &[&Tensor]) -> bool {
    let here = |t: &&Tensor| t.device().is_cuda() || emulating();
    tensors.iter().all(here)
}

/// `here`, all of one dtype that kernels read.
pub fn takes(tensors: &[&Tensor]) -> bool {
    let dtype = tensors[0].dtype();
    let known = matches!(dtype, DType::F32 | DType::BF16);
    known && tensors.iter().all(|t| t.dtype() == dtype) && here(tensors)
}

/// Whether attention runs on the tensor cores: bf16, a head width that the kernels are compiled for.
pub(crate) fn attends(tensors: &[&Tensor], head_dim: usize) -> bool {
    tensors[0].dtype() == DType::BF16 && HEAD_DIMS.contains(&head_dim) && takes(tensors)
}

/// Whether a frozen weight is one that cuBLAS multiplies by, as it is or widened for one product.
pub(crate) fn multiplies(weight: &Tensor) -> bool {
    matches!(weight.dtype(), DType::F32 | DType::BF16) || Blocks::of(weight).is_some()
}

/// What cuBLAS multiplies by: a weight in blocks is wide, in bf16, for one product.
fn wide(weight: &Tensor) -> Result<Tensor> {
    match Blocks::of(weight) {
        Some(_) => widened(&weight.contiguous()?, DType::BF16),
        None => Ok(weight.clone()),
    }
}
