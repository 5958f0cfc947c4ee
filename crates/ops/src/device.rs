//! Decisions that depend on the device, for the crates above, which do not ask where a tensor is.

use crate::attention::HEAD_DIMS;
use candle_core::{DType, Device};

/// The dtype of the activations of a model whose matrices are of dtype `weights`: bf16 on a GPU if
/// the matrices are narrower than f32 and attention has a kernel for this head width, else f32.
pub fn activation_dtype(device: &Device, weights: DType, head_dim: usize) -> DType {
    match device.is_cuda() && weights != DType::F32 && has_cuda_attention(head_dim) {
        true => DType::BF16,
        false => DType::F32,
    }
}

/// Whether CUDA attention has kernels for heads of this width. They are of bf16 and keep nothing of
/// size [T, T]; without them a GPU runs candle's operations.
pub fn has_cuda_attention(head_dim: usize) -> bool {
    HEAD_DIMS.contains(&head_dim)
}

/// Whether a KV cache is allocated whole before decoding. On a GPU growing it would need the old
/// and the new cache at once; on the CPU pages that nobody wrote take no memory.
pub fn preallocates_cache(device: &Device) -> bool {
    !device.is_cpu()
}

/// Whether frozen matrices keep the exact numbers of their file. On a GPU, whose memory is scarce,
/// they are rounded to bf16.
pub fn keeps_exact_weights(device: &Device) -> bool {
    device.is_cpu()
}

/// Whether our kernels take activations of this dtype on this device: f32 on the CPU, f32 and bf16
/// on a GPU.
pub fn has_kernels(device: &Device, dtype: DType) -> bool {
    match dtype {
        DType::F32 => true,
        DType::BF16 => device.is_cuda(),
        _ => false,
    }
}
