//! The operations on a CUDA card, by kernels of our own (`crates/ops/kernels`) and cuBLAS. Activations are bf16 or f32, all statistics, sums
//! and products f32; a result is the same each time, for nothing is added up by atomics.
//!
//! Tests without a card run the same kernels, and all of this module but one call of the driver, through an [`Emulator`].

mod adamw;
mod attention;
mod decode;
mod dropout;
mod element_wise;
mod gemm;
mod head;
pub(crate) mod launch;
mod linear;
mod node;
pub(crate) mod place;
mod rms_norm;
mod upload;
mod widen;

pub(crate) use adamw::adamw;
pub(crate) use attention::{HEAD_DIMS, causal_attention};
pub(crate) use decode::{cached_attention, rotate_into, scatter_rows};
pub(crate) use dropout::dropout;
pub(crate) use element_wise::{rope, swiglu};
pub(crate) use head::{compared_scores, token_scores};
#[cfg(feature = "cuda")]
pub(crate) use launch::KERNELS;
pub(crate) use launch::emulating;
pub use launch::{Emulator, emulated};
pub(crate) use linear::{added_linear, frozen_linear, logits, lora_linear};
pub(crate) use rms_norm::rms_norm;
pub use widen::widened;

use crate::Blocks;
use candle_core::{DType, Result, Tensor};

/// Whether all tensors are on a GPU. While [`emulated`] runs, every tensor is.
pub(crate) fn is_on_gpu(tensors: &[&Tensor]) -> bool {
    tensors.iter().all(|t| t.device().is_cuda()) || emulating()
}

/// Whether the kernels of this module apply: all tensors are on a GPU and of one dtype, f32 or bf16.
pub(crate) fn supports(tensors: &[&Tensor]) -> bool {
    let dtype = tensors[0].dtype();
    let known = matches!(dtype, DType::F32 | DType::BF16);
    known && tensors.iter().all(|t| t.dtype() == dtype) && is_on_gpu(tensors)
}

/// Whether attention runs on the tensor cores: bf16, and a head width that the kernels are compiled for.
pub(crate) fn supports_attention(tensors: &[&Tensor], head_dim: usize) -> bool {
    tensors[0].dtype() == DType::BF16 && HEAD_DIMS.contains(&head_dim) && supports(tensors)
}

/// Whether cuBLAS can multiply by a frozen weight, as it is or widened for one product.
pub(crate) fn supports_weight(weight: &Tensor) -> bool {
    matches!(weight.dtype(), DType::F32 | DType::BF16) || Blocks::of(weight).is_some()
}

/// What cuBLAS multiplies by: a weight in blocks is wide, in bf16, for one product.
fn wide(weight: &Tensor) -> Result<Tensor> {
    match Blocks::of(weight) {
        Some(_) => widened(&weight.contiguous()?, DType::BF16),
        None => Ok(weight.clone()),
    }
}
