//! Every operation as a plain composition of candle's own: what runs on devices without a fused form, and the
//! reference that the fused forms are tested against.

use crate::{AdamWStep, Ragged, TokenScores};
use candle_core::{D, DType, Device, Result, Tensor};

/// Rows per chunk of the vocabulary head, so that a chunk's logits stay near 16 MiB of f32.
pub(crate) fn head_chunk_rows(vocab: usize) -> usize {
    (4 * 1024 * 1024 / vocab.max(1)).max(1)
}

pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let dtype = x.dtype();
    let internal = if matches!(dtype, DType::F16 | DType::BF16) {
        DType::F32
    } else {
        dtype
    };
    let x = x.to_dtype(internal)?;
    let mean_sq = x.sqr()?.mean_keepdim(D::Minus1)?;
    x.broadcast_div(&(mean_sq + eps)?.sqrt()?)?
        .to_dtype(dtype)?
        .broadcast_mul(weight)
}

pub fn rope(x: &Tensor, cos: &Tensor, sin: &Tensor, positions: &[u32]) -> Result<Tensor> {
    let (n, width) = x.dims2()?;
    let half = cos.dim(1)?;
    let heads = width / (2 * half);
    let at = Tensor::new(positions, x.device())?;
    let cos = cos
        .index_select(&at, 0)?
        .reshape((n, 1, half))?
        .to_dtype(x.dtype())?;
    let sin = sin
        .index_select(&at, 0)?
        .reshape((n, 1, half))?
        .to_dtype(x.dtype())?;
    let x = x.reshape((n, heads, 2 * half))?;
    let (x1, x2) = (x.narrow(2, 0, half)?, x.narrow(2, half, half)?);
    let y1 = (x1.broadcast_mul(&cos)? - x2.broadcast_mul(&sin)?)?;
    let y2 = (x2.broadcast_mul(&cos)? + x1.broadcast_mul(&sin)?)?;
    Tensor::cat(&[y1, y2], 2)?.reshape((n, width))
}

/// Softmax over the last dimension from ops that have a backward.
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

pub fn causal_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    layout: &Ragged,
    head_dim: usize,
) -> Result<Tensor> {
    let groups = q.dim(1)? / k.dim(1)?;
    let scale = 1.0 / (head_dim as f64).sqrt();
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
            if j <= before + i {
                0.0
            } else {
                f32::NEG_INFINITY
            }
        };
        let mask: Vec<f32> = (0..t)
            .flat_map(|i| (0..before + t).map(move |j| visible(i, j)))
            .collect();
        let mask = Tensor::from_vec(mask, (1, t, before + t), q.device())?.to_dtype(q.dtype())?;
        let s = (q.matmul(&k.transpose(1, 2)?.contiguous()?)? * scale)?.broadcast_add(&mask)?; // [H, T, P + T]
        let o = softmax(&s)?.matmul(&v)?; // [H, T, D]
        out.push(
            o.transpose(0, 1)?
                .contiguous()?
                .reshape((t, q.dim(0)? * head_dim))?,
        );
    }
    Tensor::cat(&out, 0)
}

pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    gate.silu()? * up
}

/// The one op whose plain form is not what other devices run: candle would compute the weight's gradient too, so they
/// run [`crate::frozen_linear`].
pub fn frozen_linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    x.matmul(&weight.detach().t()?)
}

pub fn lora_linear(
    x: &Tensor,
    x_lora: &Tensor,
    w: &Tensor,
    a: &Tensor,
    b: &Tensor,
    scale: f64,
) -> Result<Tensor> {
    crate::frozen_linear(x, w)? + (x_lora.matmul(&a.t()?)?.matmul(&b.t()?)? * scale)?
}

/// log softmax over the last dimension of `logits / temperature`, f32.
fn log_softmax(logits: &Tensor, temperature: &[f32], device: &Device) -> Result<Tensor> {
    let t = Tensor::new(temperature, device)?.unsqueeze(1)?;
    let logits = if logits.dtype() == DType::F64 {
        logits.clone()
    } else {
        logits.to_dtype(DType::F32)?
    };
    let x = logits.broadcast_div(&t.to_dtype(logits.dtype())?)?;
    let x = x.broadcast_sub(&x.detach().max_keepdim(D::Minus1)?)?;
    x.broadcast_sub(&x.exp()?.sum_keepdim(D::Minus1)?.log()?)
}

pub fn token_scores(
    hidden: &Tensor,
    head: &Tensor,
    targets: &[u32],
    temperature: &[f32],
) -> Result<TokenScores> {
    let (m, chunk) = (hidden.dim(0)?, head_chunk_rows(head.dim(0)?));
    let (mut logps, mut entropies) = (Vec::new(), Vec::new());
    for start in (0..m).step_by(chunk) {
        let n = chunk.min(m - start);
        let logits = crate::frozen_linear(&hidden.narrow(0, start, n)?, head)?;
        let logp = log_softmax(&logits, &temperature[start..start + n], hidden.device())?; // [n, V]
        let at = Tensor::new(&targets[start..start + n], hidden.device())?.unsqueeze(1)?;
        logps.push(logp.gather(&at, 1)?.squeeze(1)?);
        entropies.push((logp.exp()? * &logp)?.sum(D::Minus1)?.neg()?);
    }
    Ok(TokenScores {
        logp: Tensor::cat(&logps, 0)?,
        entropy: Tensor::cat(&entropies, 0)?,
    })
}

pub fn token_scores_trainable(hidden: &Tensor, head: &Tensor, targets: &[u32]) -> Result<Tensor> {
    let (m, chunk) = (hidden.dim(0)?, head_chunk_rows(head.dim(0)?));
    let mut logps = Vec::new();
    for start in (0..m).step_by(chunk) {
        let n = chunk.min(m - start);
        let logits = hidden.narrow(0, start, n)?.matmul(&head.t()?)?;
        let logp = log_softmax(&logits, &vec![1.0; n], hidden.device())?; // [n, V]
        let at = Tensor::new(&targets[start..start + n], hidden.device())?.unsqueeze(1)?;
        logps.push(logp.gather(&at, 1)?.squeeze(1)?);
    }
    if logps.is_empty() {
        return hidden.sum(D::Minus1);
    }
    Tensor::cat(&logps, 0)
}

/// [5, M]: log-probability and entropy under p, the same under q, and KL(p ‖ q).
pub fn compared_scores(
    hidden_p: &Tensor,
    hidden_q: &Tensor,
    head: &Tensor,
    targets: &[u32],
    temperature: &[f32],
) -> Result<Tensor> {
    let (p, q) = (hidden_p.detach(), hidden_q.detach());
    let (m, chunk) = (p.dim(0)?, head_chunk_rows(head.dim(0)?));
    let mut kl = Vec::new();
    for start in (0..m).step_by(chunk) {
        let n = chunk.min(m - start);
        let logps = |x: &Tensor| {
            let logits = crate::frozen_linear(&x.narrow(0, start, n)?, head)?;
            log_softmax(&logits, &temperature[start..start + n], x.device())
        };
        let (lp, lq) = (logps(&p)?, logps(&q)?);
        kl.push((lp.exp()? * (lp - lq)?)?.sum(D::Minus1)?);
    }
    let mut columns = Vec::new();
    for hidden in [&p, &q] {
        let scores = token_scores(hidden, head, targets, temperature)?;
        columns.extend([scores.logp, scores.entropy]);
    }
    columns.push(Tensor::cat(&kl, 0)?);
    Tensor::stack(&columns, 0)
}

pub fn scatter_rows(store: &Tensor, rows: &[usize], src: &Tensor) -> Result<()> {
    let src = src.detach().contiguous()?;
    for (i, row) in rows.iter().enumerate() {
        store.slice_set(&src.narrow(0, i, 1)?.contiguous()?, 0, *row)?;
    }
    Ok(())
}

pub fn cached_attention(
    q: &Tensor,
    keys: &Tensor,
    values: &Tensor,
    spans: &[Vec<(usize, usize)>],
    head_dim: usize,
) -> Result<Tensor> {
    let groups = q.dim(1)? / keys.dim(1)?;
    let scale = 1.0 / (head_dim as f64).sqrt();
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

pub fn adamw(
    param: &Tensor,
    first: &Tensor,
    second: &Tensor,
    grad: &Tensor,
    step: &AdamWStep,
) -> Result<()> {
    let set = |to: &Tensor, from: Tensor| to.slice_set(&from.contiguous()?, 0, 0);
    let grad = (grad.to_dtype(first.dtype())? * step.grad_scale)?;
    let (m, v) = (first.detach().copy()?, second.detach().copy()?);
    let m = (&m + ((&grad - &m)? * (1.0 - step.beta1))?)?;
    let v = ((v * step.beta2)? + (grad.sqr()? * (1.0 - step.beta2))?)?;
    let denominator = ((v.sqrt()? / step.correction2)? + step.eps)?;
    let new = (param.detach().to_dtype(m.dtype())? * step.keep)?;
    let new = (new - ((&m / denominator)? * step.step_size)?)?;
    set(first, m)?;
    set(second, v)?;
    set(param, new.to_dtype(param.dtype())?)
}
