//! One linear map of a layer: a weight, and where the model or the adapter has them a bias and a
//! low-rank addition. The training forward and the CPU's decoding step both read it.

use candle_core::{Result, Tensor};
use ops::{Compute, step};

/// `y = x · Wᵀ + bias + scale · (x · Aᵀ) · Bᵀ`.
#[derive(Clone)]
pub(crate) struct Linear {
    /// [out, in]
    pub weight: Tensor,
    /// `[out]`
    pub bias: Option<Tensor>,
    pub lora: Option<LowRank>,
}

/// The low-rank addition of an adapter.
#[derive(Clone)]
pub(crate) struct LowRank {
    /// [r, in]
    pub a: Tensor,
    /// [out, r]
    pub b: Tensor,
    /// What B·A is multiplied by.
    pub scale: f64,
}

/// The share of A's inputs that training zeroes, and the seed.
pub(crate) type Dropout = Option<(f64, u64)>;

/// How a projection is computed in one forward.
#[derive(Clone, Copy)]
pub(crate) struct Arithmetic {
    pub compute: Compute,
    pub dropout: Dropout,
    /// Numbers the projection's module in the model: dropout's random stream is keyed by it
    pub module: u32,
}

impl Linear {
    /// The same numbers without a graph, and no adapter.
    pub fn detach(&self) -> Self {
        Self {
            weight: self.weight.detach(),
            bias: self.bias.as_ref().map(Tensor::detach),
            lora: None,
        }
    }

    /// The map to some of the outputs. It shares the numbers, with their graph.
    pub fn part(&self, start: usize, len: usize) -> Result<Self> {
        let part = |tensor: &Tensor| tensor.narrow(0, start, len);
        Ok(Self {
            weight: part(&self.weight)?,
            bias: self.bias.as_ref().map(part).transpose()?,
            lora: match &self.lora {
                Some(LowRank { a, b, scale }) => Some(LowRank {
                    a: a.clone(),
                    b: part(b)?,
                    scale: *scale,
                }),
                None => None,
            },
        })
    }

    /// `x` [N, in] -> [N, out].
    pub fn forward(&self, x: &Tensor, how: Arithmetic) -> Result<Tensor> {
        let y = self.product(x, how)?;
        match &self.bias {
            Some(bias) => y.broadcast_add(&bias.to_dtype(y.dtype())?),
            None => Ok(y),
        }
    }

    /// `residual` + [`Self::forward`].
    pub fn forward_add(&self, residual: &Tensor, x: &Tensor, how: Arithmetic) -> Result<Tensor> {
        let plain = self.lora.is_none() && self.bias.is_none() && !self.weight.track_op();
        match plain {
            true => how.compute.added_linear(residual, x, &self.weight),
            false => residual + self.forward(x, how)?,
        }
    }

    /// Without the bias.
    fn product(&self, x: &Tensor, how: Arithmetic) -> Result<Tensor> {
        let w = &self.weight;
        let Some(LowRank { a, b, scale }) = &self.lora else {
            return match w.track_op() {
                true => ops::linear(x, w),
                false => how.compute.frozen_linear(x, w),
            };
        };
        let x_lora = match how.dropout {
            Some((p, seed)) => ops::dropout(x, p, seed, how.module)?,
            None => x.clone(),
        };
        if w.track_op() {
            let low_rank = x_lora.matmul(&a.t()?)?.matmul(&b.t()?)?;
            ops::linear(x, w)? + (low_rank * *scale)?
        } else {
            how.compute.lora_linear(x, &x_lora, w, a, b, *scale)
        }
    }

    /// As the CPU's decoding step takes it.
    pub fn for_step(&self, compute: Compute) -> step::Projection<'_> {
        let lora = self.lora.as_ref();
        step::Projection {
            weight: &self.weight,
            bias: self.bias.as_ref(),
            lora: lora.map(|low| (&low.a, &low.b)),
            scale: lora.map_or(0.0, |low| low.scale),
            compute,
        }
    }
}
