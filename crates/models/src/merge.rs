//! An adapter folded into the weights of its base.

use crate::layer_spec::Role;
use crate::linear::LowRank;
use crate::model_spec::Slot;
use crate::{CausalLm, Error, Lora, Result};
use candle_core::DType;

impl CausalLm {
    /// A copy whose projections are W + scale·B·A. Parameters that the adapter leaves alone are
    /// shared with this model.
    pub fn merged(&self, lora: &Lora) -> Result<CausalLm> {
        if lora.n_layers() != self.layers.len() {
            return Err(Error::Input(format!(
                "an adapter of {} layers does not fit a model of {}",
                lora.n_layers(),
                self.layers.len()
            )));
        }
        Self::build(&self.config, self.device(), |param| {
            let weight = self.param(param.slot);
            let low_rank = match param.slot {
                Slot::Layer(layer, Role::Weight(module)) => lora.of(layer, module),
                _ => None,
            };
            let Some(LowRank { a, b, scale }) = low_rank else {
                return Ok(weight.detach());
            };
            let (a, b) = (a.detach(), b.detach());
            let weight = ops::widened(weight)?.to_dtype(DType::F32)?;
            Ok((weight + (b.matmul(&a)? * scale)?)?)
        })
    }
}
