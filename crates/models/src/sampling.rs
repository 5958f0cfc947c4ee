//! Narrower copies of the frozen matrices for sampling, where every token drawn reads all of them: what they lose is measured and
//! corrected by whoever learns from the samples.

use crate::block::Layer;
use crate::model::weight_shapes;
use crate::weight_storage::Kept;
use crate::{CausalLm, Config, Weights};
use candle_core::{DType, Result, Tensor};
use ops::Blocks;
use serde::{Deserialize, Serialize};

/// What the frozen matrices are while sampling; those in blocks stay what they are. Adapters, norms and all arithmetic are f32, embeddings as
/// the base keeps them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SamplingWeights {
    /// The weights of training
    #[default]
    Same,
    Bf16,
    /// 8-bit integers, one scale for each row ([`ops::in_8_bits`])
    Int8,
}

impl Weights {
    /// Bytes of such copies beside these weights: of matrices that are in bf16 no other copy in bf16 is made, of those in blocks none.
    pub fn bytes_beside(&self, config: &Config, weights: SamplingWeights) -> usize {
        let read = |name: &str| {
            name.ends_with("_proj.weight")
                || name == "lm_head.weight"
                || (name == "model.embed_tokens.weight" && config.tie_word_embeddings)
        };
        let bytes = |(name, shape): (String, Vec<usize>)| match (weights, self.kept.get(&name)) {
            _ if !read(&name) => 0,
            (SamplingWeights::Same, _) | (_, Some(Kept::Blocks(_))) => 0,
            (SamplingWeights::Bf16, Some(Kept::Bf16)) => 0,
            (SamplingWeights::Bf16, _) => 2 * shape[0] * shape[1],
            (SamplingWeights::Int8, _) => shape[0] * (shape[1] + 4),
        };
        weight_shapes(config).into_iter().map(bytes).sum()
    }
}

impl CausalLm {
    /// The network with the projections and the head kept so, frozen; everything else is shared. None where they are so already. On the CPU.
    pub fn with_sampling_weights(&self, weights: SamplingWeights) -> Result<Option<CausalLm>> {
        let narrow = |weight: &Tensor| match weights {
            SamplingWeights::Same => Ok(weight.detach()),
            _ if Blocks::of(weight).is_some() => Ok(weight.detach()),
            SamplingWeights::Bf16 => weight.detach().to_dtype(DType::BF16),
            SamplingWeights::Int8 => ops::in_8_bits(&weight.detach()),
        };
        let layer = |layer: &Layer| -> Result<Layer> {
            let mut copy = layer.detach();
            for proj in &mut copy.proj {
                *proj = narrow(proj)?;
            }
            Ok(copy)
        };
        let layers = self.layers().iter().map(layer).collect::<Result<_>>()?;
        let copy = self.with_matrices(layers, narrow(self.head())?);
        ops::in_large_pages(copy.matrices());
        Ok((copy.bytes_beside(self) > 0).then_some(copy))
    }

    /// Bytes of the matrices that this network does not share with the one that it is a narrower copy of.
    pub fn bytes_beside(&self, base: &CausalLm) -> usize {
        let pairs = self.matrices().zip(base.matrices());
        pairs
            .filter(|(own, of_base)| own.dtype() != of_base.dtype())
            .map(|(own, _)| own.elem_count() * own.dtype().size_in_bytes())
            .sum()
    }
}
