//! What CUDA kernels need: views of tensors, launching by name, an op in candle's graph, cuBLAS
//! products.
//!
//! The kernels are in `crates/ops/kernels`; each operation launches its own. Activations are bf16
//! or f32; statistics, sums and products are f32. Results are deterministic: nothing is summed by
//! atomics.
//!
//! Tests without a GPU run the same kernels, and all of this module except one call of the driver,
//! through an [`Emulator`].

pub(crate) mod gemm;
pub(crate) mod kernel;
pub(crate) mod op;
pub(crate) mod upload;
pub(crate) mod view;

#[cfg(feature = "cuda")]
pub(crate) use kernel::KERNELS;
pub(crate) use kernel::emulating;
pub use kernel::{Emulator, emulated};

use candle_core::{DType, Tensor};

/// Whether all tensors are on a GPU. While [`emulated`] runs, every tensor is.
pub(crate) fn is_on_gpu(tensors: &[&Tensor]) -> bool {
    tensors.iter().all(|t| t.device().is_cuda()) || emulating()
}

/// Whether our kernels take these tensors: all are on a GPU and of one dtype, f32 or bf16.
pub(crate) fn supports(tensors: &[&Tensor]) -> bool {
    let dtype = tensors[0].dtype();
    let known = matches!(dtype, DType::F32 | DType::BF16);
    known && tensors.iter().all(|t| t.dtype() == dtype) && is_on_gpu(tensors)
}
