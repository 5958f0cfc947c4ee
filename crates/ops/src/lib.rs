//! Differentiable tensor operations that candle lacks, each with a backward pass.
//!
//! Activations are *ragged*: the tokens of B sequences are concatenated in a `[N, width]` tensor,
//! and a [`Ragged`] tells where each sequence begins. There is no padding, so nothing can depend on
//! it.
//!
//! An operation is a folder with all its forms: fused on the CPU in f32 where that is faster, our
//! CUDA kernels on a GPU in bf16 or f32, and for everything else a composition of candle's
//! operations, which is also what the tests compare the other forms with ([`mod@reference`]). The
//! form is chosen here, by device and dtype; callers never ask where a tensor is.
//!
//! This crate holds the only kernels and the only `unsafe` of the project. It does not
//! deal with models or files.
//!
//! Letters: N tokens, B sequences, H query heads, K key/value heads, D head width, d model width, V
//! vocabulary, M labels.
//!
//! ```
//! use candle_core::{DType, Device, Tensor, Var};
//! // a frozen projection of 2 tokens, and its gradient to the input
//! let x = Var::from_tensor(&Tensor::ones((2, 3), DType::F32, &Device::Cpu)?)?;
//! let weight = Tensor::new(&[[1f32, 2., 3.]], &Device::Cpu)?;
//! let y = ops::frozen_linear(&x, &weight)?;
//! assert_eq!(y.to_vec2::<f32>()?, [[6.], [6.]]);
//! let grads = y.sum_all()?.backward()?;
//! assert_eq!(grads.get(&x).unwrap().to_vec2::<f32>()?, [[1., 2., 3.]; 2]);
//! # Ok::<(), candle_core::Error>(())
//! ```

#![allow(unsafe_code)]

// operations, each in all its forms
mod adamw;
mod attention;
mod checkpoint;
mod dropout;
mod head;
mod kv_cache;
mod linear;
mod rms_norm;
mod rope;
mod sampling;
mod softplus;
pub mod step;
mod swiglu;
mod widen;

// what they share
mod compute;
mod cpu;
pub mod cuda;
mod device;
pub mod driver;
mod elements;
mod int16;
mod level;
mod pages;
mod process;
mod product;
mod quantised_blocks;
mod ragged;
mod simd;
mod skinny;
mod spin_pool;

// the layers of a transformer
pub use attention::{AttentionSpec, causal_attention};
pub use compute::Compute;
pub use dropout::{dropout, masked};
pub use linear::{added_linear, frozen_linear, linear, lora_linear};
pub use rms_norm::rms_norm;
pub use rope::{Rotation, rope};
pub use swiglu::swiglu;

// scores of labels, training
pub use adamw::{AdamWStep, adamw};
pub use checkpoint::checkpoint;
pub use head::{
    ComparedScores, TokenScores, compared_scores, token_scores, token_scores_trainable,
};
pub use softplus::softplus;

// decoding
pub use attention::cached_attention;
pub use kv_cache::{rotate_into, scatter_rows};
pub use sampling::{
    Drawn, Logits, SamplingRule, WEIGHTS_BLOCK, WeightSums, sample_row, softmax_weights,
};
pub use spin_pool::SpinPool;

// batches and weights
pub use elements::in_8_bits;
pub use quantised_blocks::QuantisedBlocks;
pub use ragged::{Ragged, micro_batches, micro_batches_by};
pub use widen::{embedding, widened, widened_by_kernel};

// the process and its devices
pub use device::{
    activation_dtype, has_cuda_attention, has_kernels, keeps_exact_weights, preallocates_cache,
};
pub use level::Level;
pub use pages::in_large_pages;
pub use process::{n_threads, prepare_process};

/// Every operation as a composition of candle's own: what the fused forms are tested against, and
/// what devices and dtypes without a fused form run.
pub mod reference {
    pub use crate::adamw::reference::adamw;
    pub use crate::attention::reference::{cached_attention, causal_attention};
    pub use crate::head::reference::{compared_scores, token_scores, token_scores_trainable};
    pub use crate::kv_cache::reference::scatter_rows;
    pub use crate::linear::reference::{frozen_linear, lora_linear};
    pub use crate::rms_norm::reference::rms_norm;
    pub use crate::rope::reference::rope;
    pub use crate::swiglu::reference::swiglu;
}
