//! Attention in every form: [`causal_attention`] over whole sequences for training,
//! [`cached_attention`] of single tokens for decoding.
//!
//! | | training | decoding |
//! |---|---|---|
//! | CPU, f32 | `cpu_training` | `cpu_decoding` |
//! | GPU | `cuda_training` (bf16, head widths of [`HEAD_DIMS`]) | `cuda_decoding` |
//! | anything else, and the tests' reference | [`reference`] | [`reference`] |

pub(crate) mod cpu_decoding;
mod cpu_training;
mod cuda_decoding;
mod cuda_training;
pub mod reference;
mod spec;

pub use cpu_decoding::MAX_GROUPS;
pub use cuda_training::HEAD_DIMS;
pub use spec::AttentionSpec;

use crate::cpu::fused;
use crate::cuda;
use crate::ragged::Ragged;
use candle_core::{DType, Result, Tensor};

/// Causal attention within each sequence of a ragged batch. `q` [N, H*D], `k` and `v` [N, K*D].
/// Result [N, H*D]. Gradient to all three. The fused forms keep nothing of size [T, T]; with a
/// window their work is proportional to T times the window.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use ops::{AttentionSpec, Ragged};
/// // two sequences, of 2 tokens and of 1; one head of width 2; all scores are equal
/// let q = Tensor::zeros((3, 2), DType::F32, &Device::Cpu)?;
/// let v = Tensor::new(&[[1f32, 0.], [3., 0.], [5., 5.]], &Device::Cpu)?;
/// let layout = Ragged::from_lens(&[2, 1]);
/// let y = ops::causal_attention(&q, &q, &v, &layout, AttentionSpec::new(1, 1, 2))?;
/// assert_eq!(y.to_vec2::<f32>()?, [[1., 0.], [2., 0.], [5., 5.]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn causal_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    layout: &Ragged,
    spec: AttentionSpec,
) -> Result<Tensor> {
    spec.check_tokens("causal_attention", [q, k, v], layout.n_tokens())?;
    let bf16 = q.dtype() == DType::BF16;
    if bf16 && HEAD_DIMS.contains(&spec.head_dim) && cuda::supports(&[q, k, v]) {
        return cuda_training::causal_attention(q, k, v, layout, spec);
    }
    if fused(&[q, k, v]) {
        cpu_training::causal_attention(q, k, v, layout, spec)
    } else {
        reference::causal_attention(q, k, v, layout, spec)
    }
}

/// Attention of single query rows over cached rows; records no graph. `q` [n, H*D]; `keys`,
/// `values` [S, K*D]; `spans[i]` lists the (start, len) runs of cache rows that query i may read,
/// in order. A window is the caller's: the spans of a query begin at its first key
/// ([`AttentionSpec::first_key`]), and `spec.window` hides nothing here. Result [n, H*D].
pub fn cached_attention(
    q: &Tensor,
    keys: &Tensor,
    values: &Tensor,
    spans: &[Vec<(usize, usize)>],
    spec: AttentionSpec,
) -> Result<Tensor> {
    spec.check_cached([q, keys, values], spans)?;
    if HEAD_DIMS.contains(&spec.head_dim) && cuda::supports(&[q, keys, values]) {
        return cuda_decoding::cached_attention(q, keys, values, spans, spec);
    }
    if fused(&[q, keys, values]) && spec.groups() <= MAX_GROUPS {
        cpu_decoding::cached_attention(q, keys, values, spans, spec, None)
    } else {
        reference::cached_attention(q, keys, values, spans, spec)
    }
}
