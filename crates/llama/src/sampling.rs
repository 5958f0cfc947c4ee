//! Narrower copies of the frozen matrices for sampling, where every token drawn reads all of them: what they lose is measured and
//! corrected by whoever learns from the samples.

use crate::Llama;
use crate::block::Layer;
use candle_core::{DType, Result, Tensor};
use serde::{Deserialize, Serialize};

/// What the frozen matrices are while sampling. Adapters, norms, embeddings and all arithmetic stay f32.
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

impl Llama {
    /// The network with the projections and the head kept so; everything else is shared. On the CPU, frozen.
    pub fn with_sampling_weights(&self, weights: SamplingWeights) -> Result<Llama> {
        let narrow = |weight: &Tensor| match weights {
            SamplingWeights::Same => Ok(weight.detach()),
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
        Ok(self.with_matrices(layers, narrow(self.head())?))
    }
}
