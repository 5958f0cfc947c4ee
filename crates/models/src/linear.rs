//! One linear map of a layer: a weight, and where the model or the adapter has them a bias and a
//! low-rank addition. The training forward and the CPU's decoding step both read it.

use candle_core::{Result, Tensor};
use ops::step;

/// `y = x · Wᵀ + bias + scale · (x · Aᵀ) · Bᵀ`.
#[derive(Clone)]
pub(crate) struct Linear {
    /// [out, in]
    pub weight: Tensor,
    /// `[out]`
    pub bias: Option<Tensor>,
    /// A [r, in] and B [out, r]
    pub lora: Option<(Tensor, Tensor)>,
}

/// What the adapters of one forward share.
pub(crate) struct LoraContext {
    /// What B·A is multiplied by.
    pub scale: f64,
    /// The share of A's inputs that is zeroed, and the seed.
    pub dropout: Option<(f64, u64)>,
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

    /// `x` [N, in] -> [N, out]. `module` numbers this map in the model, for its dropout's stream.
    pub fn forward(&self, x: &Tensor, lora: &LoraContext, module: u32) -> Result<Tensor> {
        let y = self.product(x, lora, module)?;
        match &self.bias {
            Some(bias) => y.broadcast_add(&bias.to_dtype(y.dtype())?),
            None => Ok(y),
        }
    }

    /// `residual` + [`Self::forward`].
    pub fn forward_add(
        &self,
        residual: &Tensor,
        x: &Tensor,
        lora: &LoraContext,
        module: u32,
    ) -> Result<Tensor> {
        let plain = self.lora.is_none() && self.bias.is_none() && !self.weight.is_variable();
        match plain {
            true => ops::added_linear(residual, x, &self.weight),
            false => residual + self.forward(x, lora, module)?,
        }
    }

    /// Without the bias.
    fn product(&self, x: &Tensor, lora: &LoraContext, module: u32) -> Result<Tensor> {
        let w = &self.weight;
        let Some((a, b)) = &self.lora else {
            return match w.is_variable() {
                true => ops::linear(x, w),
                false => ops::frozen_linear(x, w),
            };
        };
        let x_lora = match lora.dropout {
            Some((p, seed)) => ops::dropout(x, p, seed, module)?,
            None => x.clone(),
        };
        if w.is_variable() {
            let low_rank = x_lora.matmul(&a.t()?)?.matmul(&b.t()?)?;
            ops::linear(x, w)? + (low_rank * lora.scale)?
        } else {
            ops::lora_linear(x, &x_lora, w, a, b, lora.scale)
        }
    }

    /// As the CPU's decoding step takes it.
    pub fn for_step(&self, lora: &LoraContext) -> step::Projection<'_> {
        step::Projection {
            weight: &self.weight,
            bias: self.bias.as_ref(),
            lora: self.lora.as_ref().map(|(a, b)| (a, b)),
            scale: lora.scale,
        }
    }
}
