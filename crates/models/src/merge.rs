//! An adapter folded into the weights of its base: a whole model in memory, or one weight at a time
//! while a copy is written.

use crate::layer_spec::Role;
use crate::linear::LowRank;
use crate::model_spec::Slot;
use crate::{CausalLm, Error, Lora, Result};
use candle_core::{DType, Tensor};

impl CausalLm {
    /// A copy whose projections are W + scale·B·A. Parameters that the adapter leaves alone are
    /// shared with this model.
    pub fn merged(&self, lora: &Lora) -> Result<CausalLm> {
        self.require_fits(lora)?;
        Self::build(&self.config, self.device(), |param| {
            self.merged_weight(param.slot, lora)
        })
    }

    pub(crate) fn require_fits(&self, lora: &Lora) -> Result<()> {
        if lora.n_layers() == self.layers.len() {
            return Ok(());
        }
        Err(Error::Input(format!(
            "an adapter of {} layers does not fit a model of {}",
            lora.n_layers(),
            self.layers.len()
        )))
    }

    /// A parameter with what the adapter adds to it: f32 where it adds something, else as it is.
    pub(crate) fn merged_weight(&self, slot: Slot, lora: &Lora) -> Result<Tensor> {
        let weight = self.param(slot);
        let low_rank = match slot {
            Slot::Layer(layer, Role::Weight(module)) => lora.of(layer, module),
            _ => None,
        };
        let Some(LowRank { a, b, scale }) = low_rank else {
            return Ok(weight.detach());
        };
        let (a, b) = (a.detach(), b.detach());
        let weight = ops::widened(weight)?.to_dtype(DType::F32)?;
        Ok((weight + (b.matmul(&a)? * scale)?)?)
    }
}
