//! Differentiable tensor operations that candle lacks, each with a backward pass.
//!
//! Activations are *ragged*: the tokens of B sequences stand one after another in a `[N, width]` tensor, and a
//! [`Ragged`] says where each sequence begins. There is no padding, so nothing can depend on it.
//! On the CPU in f32 an operation is fused where that pays, on a card it is a kernel of ours; elsewhere it is the plain candle composition
//! in [`composed`], which is differentiable everywhere and is what the other forms are tested against.
//!
//! This crate holds the only kernels and the only `unsafe` of the project. It knows nothing of models and files.
//!
//! Letters: N tokens, B sequences, H query heads, K key/value heads, D head width, d model width, V vocabulary, M labels.

#![allow(unsafe_code)]

mod adamw;
mod attention;
mod blocks;
mod checkpoint;
pub mod composed;
mod cpu;
pub mod cuda;
mod decode;
mod device;
pub mod driver;
mod dropout;
mod elements;
mod head;
mod level;
mod linear;
mod pages;
mod process;
mod product;
pub mod ragged;
mod recompute;
mod rms_norm;
mod rope;
mod sampling;
mod simd;
mod skinny;
mod spin_pool;
pub mod step;
mod swiglu;

pub use adamw::{AdamWStep, adamw};
pub use blocks::{Blocks, embedding, widened};
pub use device::{activation_dtype, has_cuda_attention, preallocates_cache};
pub use dropout::{dropout, masked};
pub use elements::in_8_bits;
pub use level::Level;
pub use pages::in_large_pages;
pub use process::prepare_process;
pub use ragged::{Ragged, micro_batches, micro_batches_by};
pub use sampling::{
    Drawn, Logits, SamplingRule, WEIGHTS_BLOCK, WeightSums, sample_row, softmax_weights,
};
pub use spin_pool::SpinPool;

use candle_core::{D, DType, Result, Tensor};
use cpu::fused;
use elements::Frozen;

/// Root-mean-square norm over the last dimension, `x / sqrt(mean(x²) + eps) * weight`. `x` [N, d], `weight` `[d]`.
/// Gradient to `x` and `weight`. Source: Zhang & Sennrich 2019, as LLaMA uses it.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    if cuda::supports(&[x]) {
        return cuda::rms_norm(x, weight, eps);
    }
    if fused(&[x, weight]) {
        rms_norm::rms_norm(x, weight, eps)
    } else {
        composed::rms_norm(x, weight, eps)
    }
}

/// Rotary position embedding, half-rotation layout of Hugging Face's LLaMA. `x` [N, H*D], `cos`/`sin` [max_pos, D/2]
/// (f32, no gradient), `positions` one per token. Gradient to `x`.
pub fn rope(x: &Tensor, cos: &Tensor, sin: &Tensor, positions: &[u32]) -> Result<Tensor> {
    if cuda::supports(&[x]) {
        return cuda::rope(x, cos, sin, positions);
    }
    if fused(&[x, cos, sin]) {
        rope::rope(x, cos, sin, positions)
    } else {
        composed::rope(x, cos, sin, positions)
    }
}

/// Causal attention within each sequence, scaled by `1/sqrt(D)`. `q` [N, H*D], `k` and `v` [N, K*D] with K dividing H
/// (grouped heads: query head h reads key head h / (H/K)). Result [N, H*D]. Gradient to all three; no [T, T] is kept.
pub fn causal_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    layout: &Ragged,
    head_dim: usize,
) -> Result<Tensor> {
    if cuda::supports_attention(&[q, k, v], head_dim) {
        return cuda::causal_attention(q, k, v, layout, head_dim);
    }
    if fused(&[q, k, v]) {
        attention::causal_attention(q, k, v, layout, head_dim)
    } else {
        composed::causal_attention(q, k, v, layout, head_dim)
    }
}

/// `silu(gate) * up`. Gradient to both.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    if cuda::supports(&[gate, up]) {
        return cuda::swiglu(gate, up);
    }
    if fused(&[gate, up]) {
        swiglu::swiglu(gate, up)
    } else {
        composed::swiglu(gate, up)
    }
}

/// `x · weightᵀ` with a frozen weight: gradient to `x` only, and no work on the weight's. `x` [N, in], `weight` [out, in], which may lie in
/// [`Blocks`]; on the CPU a weight of bf16 or [`in_8_bits`] serves an `x` of f32, and so in every operation that takes a frozen weight.
pub fn frozen_linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    if cuda::supports(&[x]) && cuda::supports_weight(weight) {
        return cuda::frozen_linear(x, weight);
    }
    linear::frozen_linear(x, weight)
}

/// `residual + x · weightᵀ` with a frozen weight, as in [`frozen_linear`]: gradient to `residual` [N, out] and `x` [N, in].
pub fn added_linear(residual: &Tensor, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    if cuda::supports(&[residual, x]) && cuda::supports_weight(weight) {
        return cuda::added_linear(residual, x, weight);
    }
    if fused(&[residual, x]) && Frozen::reads(weight) {
        linear::added_linear(residual, x, weight)
    } else {
        residual + frozen_linear(x, weight)?
    }
}

/// `x · weightᵀ` with gradient to both. `x` [N, in], `weight` [out, in].
pub fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    if fused(&[x, weight]) {
        linear::linear(x, weight)
    } else {
        x.matmul(&weight.t()?)
    }
}

/// `x · Wᵀ + scale · (x_lora · Aᵀ) · Bᵀ` with W frozen. `w` [out, in], `a` [r, in], `b` [out, r]. `x_lora` is `x`, or `x`
/// after LoRA dropout. Gradient to `x`, `x_lora`, `a`, `b`. Source: Hu et al. 2021, Eq. 3.
pub fn lora_linear(
    x: &Tensor,
    x_lora: &Tensor,
    w: &Tensor,
    a: &Tensor,
    b: &Tensor,
    scale: f64,
) -> Result<Tensor> {
    if cuda::supports(&[x]) && cuda::supports_weight(w) {
        return cuda::lora_linear(x, x_lora, w, a, b, scale);
    }
    if fused(&[x, x_lora, a, b]) && Frozen::reads(w) {
        linear::lora_linear(x, x_lora, w, a, b, scale)
    } else {
        composed::lora_linear(x, x_lora, w, a, b, scale)
    }
}

/// What the vocabulary head says of each label, f32.
pub struct TokenScores {
    /// log-probability of the label under `softmax(logits / temperature)`, `[M]`, natural log. Carries gradient.
    pub logp: Tensor,
    /// entropy of the same distribution, `[M]`, nats. Carries gradient.
    pub entropy: Tensor,
}

/// Log-probabilities and entropies of `targets` from hidden states, chunked over rows so that [M, V] is never held.
/// `hidden` [M, d] (the states *before* each target), `head` [V, d] frozen, `temperature` one per row (1.0 = as is).
/// Gradient to `hidden`.
pub fn token_scores(
    hidden: &Tensor,
    head: &Tensor,
    targets: &[u32],
    temperature: &[f32],
) -> Result<TokenScores> {
    let scores = if hidden.dim(0)? == 0 {
        hidden.sum_keepdim(D::Minus1)?.t()?.broadcast_as((2, 0))?
    } else if cuda::supports(&[hidden]) && cuda::supports_weight(head) {
        cuda::token_scores(hidden, head, targets, temperature)?
    } else if fused(&[hidden]) && Frozen::reads(head) {
        head::token_scores(hidden, head, targets, temperature, false)?
    } else {
        recompute::token_scores(hidden, head, targets, temperature)?
    };
    Ok(TokenScores {
        logp: scores.get(0)?,
        entropy: scores.get(1)?,
    })
}

/// [`token_scores`]'s log-probabilities `[M]` at temperature 1, with gradient to `hidden` [M, d] and to `head` [V, d] too: for
/// training from scratch, where the head is the tied embedding.
pub fn token_scores_trainable(hidden: &Tensor, head: &Tensor, targets: &[u32]) -> Result<Tensor> {
    if hidden.dim(0)? > 0 && fused(&[hidden]) && Frozen::reads(head) {
        let temperature = vec![1.0; targets.len()];
        head::token_scores(hidden, head, targets, &temperature, true)?.get(0)
    } else {
        composed::token_scores_trainable(hidden, head, targets)
    }
}

/// Two distributions over the vocabulary at each label, f32, no gradient.
pub struct ComparedScores {
    pub p: TokenScores,
    pub q: TokenScores,
    /// exact KL(p ‖ q), `[M]`, nats
    pub kl: Tensor,
}

/// [`token_scores`] of two models that share a `head` [V, d], and the KL between them, in one sweep over the vocabulary, chunked
/// over rows. `hidden_p`, `hidden_q` [M, d].
pub fn compared_scores(
    hidden_p: &Tensor,
    hidden_q: &Tensor,
    head: &Tensor,
    targets: &[u32],
    temperature: &[f32],
) -> Result<ComparedScores> {
    let (mut p, mut q) = (hidden_p.detach(), hidden_q.detach());
    if p.dtype() != q.dtype() {
        // states that sampling kept, which are f32, beside those of a forward in bf16
        (p, q) = (p.to_dtype(DType::F32)?, q.to_dtype(DType::F32)?);
    }
    let columns = if p.dim(0)? == 0 {
        Tensor::zeros((5, 0), DType::F32, p.device())?
    } else if cuda::supports(&[&p, &q]) && cuda::supports_weight(head) {
        cuda::compared_scores(&p, &q, head, targets, temperature)?
    } else if fused(&[&p, &q]) && Frozen::reads(head) {
        head::compared_scores(&p, &q, head, targets, temperature)?
    } else {
        composed::compared_scores(&p, &q, head, targets, temperature)?
    };
    let scores = |at| -> Result<TokenScores> {
        Ok(TokenScores {
            logp: columns.get(at)?,
            entropy: columns.get(at + 1)?,
        })
    };
    Ok(ComparedScores {
        p: scores(0)?,
        q: scores(2)?,
        kl: columns.get(4)?,
    })
}

/// `part(x, params)` that keeps `x` and `params` only and runs `part` a second time for the gradient of both. `part` must give the
/// same numbers each time. A parameter is a variable or its elements have a graph; `x` may have none.
pub fn checkpoint(
    x: &Tensor,
    params: &[Tensor],
    part: impl Fn(&Tensor, &[Tensor]) -> Result<Tensor> + Send + Sync + 'static,
) -> Result<Tensor> {
    checkpoint::checkpoint(x, params, part)
}

/// Writes token rows into a key or value store in place: `store` [S, width], `src` [n, width], row i goes to `rows[i]`.
pub fn scatter_rows(store: &Tensor, rows: &[usize], src: &Tensor) -> Result<()> {
    if cuda::supports(&[store, src]) {
        return cuda::scatter_rows(store, rows, src);
    }
    if fused(&[store, src]) {
        decode::scatter_rows(store, rows, src)
    } else {
        composed::scatter_rows(store, rows, src)
    }
}

/// Queries `q` [n, H*D] turned to their positions, and into `stores` (keys and values, [S, K*D]), token i to `rows[i]`, keys turned likewise
/// and values as they are: [`rope`] and [`scatter_rows`] in one. Records no graph. `tables`: cos and sin. Result [n, H*D].
pub fn rotate_into(
    [q, k, v]: [&Tensor; 3],
    tables: (&Tensor, &Tensor),
    positions: &[u32],
    stores: (&Tensor, &Tensor),
    rows: &[usize],
) -> Result<Tensor> {
    if cuda::supports(&[q, k, v, stores.0, stores.1]) {
        return cuda::rotate_into([q, k, v], tables, positions, stores, rows);
    }
    let turned = |x: &Tensor| rope(&x.detach(), tables.0, tables.1, positions);
    scatter_rows(stores.0, rows, &turned(k)?)?;
    scatter_rows(stores.1, rows, v)?;
    turned(q)
}

/// Attention of single query rows over cached rows; records no graph. `q` [n, H*D]; `keys`, `values` [S, K*D];
/// `spans[i]` lists the (start, len) runs of store rows that query i may read, in order. Result [n, H*D].
pub fn cached_attention(
    q: &Tensor,
    keys: &Tensor,
    values: &Tensor,
    spans: &[Vec<(usize, usize)>],
    head_dim: usize,
) -> Result<Tensor> {
    let known = cuda::HEAD_DIMS.contains(&head_dim);
    if cuda::supports(&[q, keys, values]) && known {
        return cuda::cached_attention(q, keys, values, spans, head_dim);
    }
    let groups = q.dim(1)? / keys.dim(1)?.max(1);
    if fused(&[q, keys, values]) && groups <= decode::MAX_GROUPS {
        decode::cached_attention(q, keys, values, spans, head_dim, None)
    } else {
        composed::cached_attention(q, keys, values, spans, head_dim)
    }
}
