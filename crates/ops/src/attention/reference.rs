//! Attention as a composition of candle's operations: what the fused forms are tested against, in
//! f64, and what devices, dtypes and shapes without a fused form run.

use super::spec::AttentionSpec;
use crate::ragged::Ragged;
use candle_core::{D, Result, Tensor};

/// [`crate::causal_attention`] on any device.
pub fn causal_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    layout: &Ragged,
    spec: AttentionSpec,
) -> Result<Tensor> {
    let (head_dim, groups, scale) = (spec.head_dim, spec.groups(), spec.scale);
    if layout.is_empty() {
        return q.clone().contiguous();
    }
    let mut out = Vec::with_capacity(layout.n_seqs());
    for seq in (0..layout.n_seqs()).filter(|seq| layout.len(*seq) > 0) {
        let (r, prefix) = (layout.range(seq), layout.prefix(seq));
        let (t, before) = (r.len(), prefix.len());
        let own = |x: &Tensor| x.narrow(0, r.start, t);
        let seen = |x: &Tensor| -> Result<Tensor> {
            if before == 0 {
                return own(x);
            }
            Tensor::cat(&[x.narrow(0, prefix.start, before)?, own(x)?], 0)
        };
        let q = split_heads(&own(q)?, head_dim)?;
        let k = repeat_heads(&split_heads(&seen(k)?, head_dim)?, groups)?;
        let v = repeat_heads(&split_heads(&seen(v)?, head_dim)?, groups)?;
        let visible = |i, j| {
            if (spec.first_key(before + i)..=before + i).contains(&j) {
                0.0
            } else {
                f32::NEG_INFINITY
            }
        };
        let mask: Vec<f32> = (0..t)
            .flat_map(|i| (0..before + t).map(move |j| visible(i, j)))
            .collect();
        let mask = Tensor::from_vec(mask, (1, t, before + t), q.device())?.to_dtype(q.dtype())?;
        // [H, T, P + T]
        let s = (q.matmul(&k.transpose(1, 2)?.contiguous()?)? * scale)?.broadcast_add(&mask)?;
        let o = softmax(&s)?.matmul(&v)?; // [H, T, D]
        out.push(
            o.transpose(0, 1)?
                .contiguous()?
                .reshape((t, q.dim(0)? * head_dim))?,
        );
    }
    Tensor::cat(&out, 0)
}

/// [`crate::cached_attention`] on any device.
pub fn cached_attention(
    q: &Tensor,
    keys: &Tensor,
    values: &Tensor,
    spans: &[Vec<(usize, usize)>],
    spec: AttentionSpec,
) -> Result<Tensor> {
    let (head_dim, groups, scale) = (spec.head_dim, spec.groups(), spec.scale);
    let mut out = Vec::with_capacity(spans.len());
    for (i, spans) in spans.iter().enumerate() {
        let gather = |x: &Tensor| -> Result<Tensor> {
            let parts = spans
                .iter()
                .map(|(s, n)| x.narrow(0, *s, *n))
                .collect::<Result<Vec<_>>>()?;
            repeat_heads(&split_heads(&Tensor::cat(&parts, 0)?, head_dim)?, groups)
        };
        let q = split_heads(&q.narrow(0, i, 1)?, head_dim)?; // [H, 1, D]
        let s = (q.matmul(&gather(keys)?.transpose(1, 2)?.contiguous()?)? * scale)?;
        out.push(
            softmax(&s)?
                .matmul(&gather(values)?)?
                .reshape((1, q.dim(0)? * head_dim))?,
        );
    }
    Tensor::cat(&out, 0)
}

/// Softmax over the last dimension, of operations that have a backward.
fn softmax(x: &Tensor) -> Result<Tensor> {
    let max = x.detach().max_keepdim(D::Minus1)?;
    let e = x.broadcast_sub(&max)?.exp()?;
    let sum = e.sum_keepdim(D::Minus1)?;
    e.broadcast_div(&sum)
}

/// [n, heads*D] -> [heads, n, D]
fn split_heads(x: &Tensor, head_dim: usize) -> Result<Tensor> {
    let (n, width) = x.dims2()?;
    x.reshape((n, width / head_dim, head_dim))?
        .transpose(0, 1)?
        .contiguous()
}

/// Repeats each key head for its group of query heads. [K, n, D] -> [K*groups, n, D]
fn repeat_heads(x: &Tensor, groups: usize) -> Result<Tensor> {
    let (k, n, d) = x.dims3()?;
    x.unsqueeze(1)?
        .broadcast_as((k, groups, n, d))?
        .reshape((k * groups, n, d))
}
