//! What a forward with graph keeps of each token for its gradient: a count of the tensors of `block.rs` on the CPU, where each
//! operation is one tensor.

use crate::proj::Proj;
use crate::{Config, LoraConfig};

/// Elements per token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activations {
    /// A block that keeps everything
    pub block: usize,
    /// A block that keeps its input only
    pub checkpointed: usize,
    /// Gradients that live side by side while a block's is computed
    pub gradients: usize,
}

impl Activations {
    /// `lora`: of the adapter that the forward goes through.
    pub fn of(config: &Config, lora: Option<&LoraConfig>) -> Self {
        let (d, f) = (config.hidden_size, config.intermediate_size);
        let q = config.num_attention_heads * config.head_dim;
        let kv = config.num_key_value_heads * config.head_dim;
        // norm, o, sum, norm, down, sum; q and k before and after rotation, v, attention; gate, up and their product
        let mut block = 6 * d + 3 * q + 3 * kv + 3 * f;
        let mut gradients = 6 * f + 4 * d;
        if let Some(lora) = lora {
            let targets = lora.targets.iter().filter_map(|t| Proj::by_name(t));
            for (out, input) in targets.map(|proj| proj.shape(config)) {
                block += lora.r;
                if lora.dropout > 0.0 {
                    // mask, masked input; the frozen and the low-rank part before their sum
                    block += 2 * input + 2 * out;
                    // candle computes the mask's gradient, too, and nobody takes it
                    gradients += input;
                }
            }
        }
        Self {
            block,
            checkpointed: d,
            gradients,
        }
    }
}
