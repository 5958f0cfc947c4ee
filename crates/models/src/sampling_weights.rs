//! Sampling reads every matrix for every token, so it may use copies with fewer bits. The resulting
//! error is measured, and training on the samples corrects it.

use crate::layer::Layer;
use crate::model_spec::{Slot, params};
use crate::weight_storage::MatrixFormat;
use crate::{CausalLm, Config, WeightsMeta};
use candle_core::{DType, Result, Tensor};
use ops::QuantisedBlocks;
use serde::{Deserialize, Serialize};

/// The format of the frozen matrices while sampling; quantised blocks stay as they are. Adapters,
/// norms, biases and all arithmetic are f32, embeddings as in the base.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SamplingWeights {
    /// The weights of training.
    #[default]
    Same,
    Bf16,
    /// 8-bit integers with one scale for each row ([`ops::in_8_bits`]).
    Int8,
}

impl WeightsMeta {
    /// Bytes that such copies take beside these weights. A matrix that is already in bf16 needs no
    /// copy in bf16, and quantised blocks need none at all.
    pub fn extra_bytes(&self, config: &Config, weights: SamplingWeights) -> usize {
        let is_read = |slot: Slot| {
            slot.is_projection()
                || slot == Slot::Head
                || (slot == Slot::Embedding && config.tie_word_embeddings)
        };
        let read = params(config).into_iter().filter(|p| is_read(p.slot));
        read.map(|param| {
            let (rows, width) = (param.shape[0], param.shape[1]);
            match (weights, self.formats.get(&param.hf_name)) {
                (SamplingWeights::Same, _) | (_, Some(MatrixFormat::Blocks(_))) => 0,
                (SamplingWeights::Bf16, Some(MatrixFormat::Bf16)) => 0,
                (SamplingWeights::Bf16, _) => 2 * rows * width,
                (SamplingWeights::Int8, _) => rows * (width + 4),
            }
        })
        .sum()
    }
}

impl CausalLm {
    /// A frozen copy with its projections and head in this format; everything else is shared.
    /// `None` where they already are. On the CPU.
    pub fn with_sampling_weights(&self, weights: SamplingWeights) -> Result<Option<CausalLm>> {
        let narrow = |weight: &Tensor| match weights {
            SamplingWeights::Same => Ok(weight.detach()),
            _ if QuantisedBlocks::of(weight).is_some() => Ok(weight.detach()),
            SamplingWeights::Bf16 => weight.detach().to_dtype(DType::BF16),
            SamplingWeights::Int8 => ops::in_8_bits(&weight.detach()),
        };
        let layer = |layer: &Layer| -> Result<Layer> {
            let mut copy = layer.detach();
            for linear in copy.linears_mut() {
                linear.weight = narrow(&linear.weight)?;
            }
            Ok(copy)
        };
        let layers = self.layers.iter().map(layer).collect::<Result<_>>()?;
        let copy = self.with_matrices(layers, narrow(self.head())?);
        ops::in_large_pages(copy.matrices());
        Ok((copy.extra_bytes(self) > 0).then_some(copy))
    }

    /// Bytes of the matrices that this copy does not share with its base.
    pub fn extra_bytes(&self, base: &CausalLm) -> usize {
        let pairs = self.matrices().zip(base.matrices());
        pairs
            .filter(|(own, of_base)| own.dtype() != of_base.dtype())
            .map(|(own, _)| own.elem_count() * own.dtype().size_in_bytes())
            .sum()
    }
}
