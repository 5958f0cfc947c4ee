//! What a forward with graph keeps for its gradient: a count of the tensors of `block.rs`, where each operation is one tensor, but for an
//! attention of candle's own operations, which is several.

use crate::proj::Proj;
use crate::{Config, LoraConfig};

/// Numbers per token, and per pair of a token and one that its sequence reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activations {
    /// A block that keeps everything
    pub block: usize,
    /// A block that keeps its input only
    pub checkpointed: usize,
    /// Gradients that live side by side while a block's is computed
    pub gradients: usize,
    /// A block, per pair
    pub block_pairs: usize,
    /// Gradients, per pair
    pub gradient_pairs: usize,
    /// Bytes of one of them
    pub number: usize,
}

/// Widths of a block.
struct Widths {
    d: usize,
    /// Feed-forward
    f: usize,
    /// All query heads
    q: usize,
    /// All heads of keys
    kv: usize,
}

impl Widths {
    fn of(config: &Config) -> Self {
        Self {
            d: config.hidden_size,
            f: config.intermediate_size,
            q: config.num_attention_heads * config.head_dim,
            kv: config.num_key_value_heads * config.head_dim,
        }
    }
}

impl Activations {
    /// On the CPU. `lora`: of the adapter that the forward goes through.
    pub fn fused(config: &Config, lora: Option<&LoraConfig>) -> Self {
        let Widths { d, f, q, kv } = Widths::of(config);
        // norm, sum, norm, sum; q and k before and after rotation, v, attention; gate, up and their product
        let mut block = 4 * d + 3 * q + 3 * kv + 3 * f;
        // what O and Down give stands beside the sum unless they are frozen and have no adapter
        let trained = |proj: &Proj| lora.is_none_or(|l| l.targets.iter().any(|t| t == proj.name()));
        block += d * [Proj::O, Proj::Down].iter().filter(|p| trained(p)).count();
        let gradients = 6 * f + 4 * d;
        for (out, input, lora) in adapted(config, lora) {
            block += lora.r;
            if lora.dropout > 0.0 {
                // mask, masked input; the frozen and the low-rank part before their sum
                block += 2 * input + 2 * out;
            }
        }
        Self {
            block,
            checkpointed: d,
            gradients,
            block_pairs: 0,
            gradient_pairs: 0,
            number: 4,
        }
    }

    /// On a card: in bf16 where the base stands still and attention has a kernel, else in f32, with an attention of candle's own operations.
    pub fn on_card(config: &Config, lora: Option<&LoraConfig>) -> Self {
        let Widths { q, kv, .. } = Widths::of(config);
        let heads = config.num_attention_heads;
        let mut each = Self::fused(config, lora);
        for (_, input, lora) in adapted(config, lora) {
            if lora.dropout > 0.0 {
                // the mask is drawn again for the gradient
                each.block -= input;
            }
        }
        if lora.is_some() && ops::has_cuda_attention(config.head_dim) {
            // log Σ exp of each head's scores, and Σ dO∘O, in f32: two numbers of bf16
            each.block += 2 * heads;
            each.gradients += 2 * heads;
            each.number = 2;
            return each;
        }
        // heads apart: q, k, k transposed, v; repeated where heads share keys; the values' sum, in order, put together
        let shared = heads > config.num_key_value_heads;
        each.block += 2 * q + 2 * kv + if shared { 2 * q } else { 0 } + 3 * q;
        each.gradients += 4 * q;
        // product, scaled, masked; less its largest, exponential, quotient; gradients of the mask and of the largest
        each.block_pairs = 8 * heads;
        each.gradient_pairs = 5 * heads;
        each
    }
}

/// (out, in) of each adapted projection.
fn adapted<'a>(
    config: &Config,
    lora: Option<&'a LoraConfig>,
) -> impl Iterator<Item = (usize, usize, &'a LoraConfig)> {
    let targets = lora
        .into_iter()
        .flat_map(|lora| lora.targets.iter().map(move |target| (target, lora)));
    targets.filter_map(|(target, lora)| {
        let (out, input) = Proj::by_name(target)?.shape(config);
        Some((out, input, lora))
    })
}
