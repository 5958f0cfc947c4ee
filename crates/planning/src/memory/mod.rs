//! What a training run holds at its peak, counted from sizes before its weights are read. On the CPU the constants are measured; on a card
//! nothing is: the count is of the operations that run there and of a context that was assumed (LOG.md).

mod batches;
mod choice;
mod drawing;
mod shortage;

pub use batches::{Batches, largest_cut, micro_batch, of_fit};
pub use choice::{Choice, MemoryConfig, choose};
pub use drawing::Drawing;
pub use shortage::{Planned, is_shortage};

use models::{Activations, Config, LoraConfig};
use policy::DeviceChoice;

/// The process before it has read a model: code, threads, allocator, tokenizer and data.
const PROCESS: f64 = 0.06e9;
/// A card's context, the library of products and its workspace. Assumed.
const CONTEXT: f64 = 0.7e9;
/// Copies of a trained number beside itself: its gradient in a micro-batch and in the step, and AdamW's two moments.
const PER_PARAMETER: f64 = 4.0 * F32;
/// Share of the activations that lies in the gaps of the heap; a card's allocator is assumed to leave more.
const GAPS: f64 = 1.02;
const GAPS_OF_CARD: f64 = 1.1;
/// Rows of the cache for each in use: it grows by a quarter on the CPU, so that half of that is to be expected. On a card it is whole from the start.
const CACHE_GROWTH: f64 = 1.125;
/// Kept states for each in use: they grow by doubling.
const GROWTH: f64 = 1.5;
/// Most tokens of one prefill, which keeps nothing, but for a longer prompt.
const PREFILL: usize = 2048;
/// Of the vocabulary head on a card: a chunk's logits in f32 and their gradient in bf16. Where the head is trained: candle's tensors of a
/// smaller chunk.
const HEAD_CHUNK: f64 = 1.5 * HEAD_LOGITS;
const HEAD_LOGITS: f64 = 4.0 * 16.8e6;
const TRAINED_HEAD_CHUNK: f64 = 18.0 * 16.8e6;
const F32: f64 = 4.0;
pub(crate) const GB: f64 = 1e9;

/// What one optimiser step of a run works on.
#[derive(Clone, Debug)]
pub struct Workload {
    pub device: DeviceChoice,
    /// Of the base, as it is kept
    pub weight_bytes: usize,
    /// Trained numbers: adapters and heads, or the base
    pub parameters: usize,
    /// Numbers of all adapters and heads, trained or standing still
    pub adapter_numbers: usize,
    /// One after the other (policy, critic)
    pub graphs: Vec<Graph>,
    /// The largest forward with graph
    pub largest: Forward,
    /// Tokens of the longest that is learnt from and never cut, below which no micro-batch can go
    pub longest: usize,
    pub reading: Reading,
    pub drawing: Drawing,
}

/// What is trained by a backward of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    pub name: &'static str,
    /// None: the base's own weights
    pub lora: Option<LoraConfig>,
}

/// Sizes of one forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forward {
    pub tokens: usize,
    /// Pairs of a token and one that its sequence reads, whether masked or not
    pub pairs: usize,
}

/// Forwards without graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Tokens of the largest that `train.micro_batch_tokens` cuts: evaluation, reference
    pub cut: usize,
    /// Tokens of the largest that it does not: scores
    pub whole: usize,
    /// Tokens of the longest sequence in any
    pub longest: usize,
}

/// Bytes by what holds them.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    pub weights: f64,
    /// Adapters, and gradients and optimiser of what is trained
    pub adapters: f64,
    /// Of one micro-batch, by graph: what it keeps, and the gradients on the way. Not at the same time
    pub graphs: Vec<(&'static str, f64)>,
    /// Of one forward that keeps nothing
    pub reading: f64,
    /// Keys, values, logits and kept states while sampling
    pub sampling: f64,
}

impl Reading {
    /// Of the largest.
    pub fn tokens(&self) -> usize {
        self.cut.max(self.whole)
    }
}

impl Estimate {
    /// With the first `blocks` blocks checkpointed.
    pub fn of(config: &Config, work: &Workload, blocks: usize) -> Self {
        let on_cpu = work.device.is_cpu();
        let layers = config.num_hidden_layers;
        let (d, f, v) = (
            config.hidden_size,
            config.intermediate_size,
            config.vocab_size,
        );
        let gaps = if on_cpu { GAPS } else { GAPS_OF_CARD };
        // hidden states before and after the final norm, those before labels, and the head's gradient, one part per thread
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let head = d * (5 + if on_cpu { threads } else { 1 });
        // a base that stands still is bf16 on a card, and so is what its blocks hand on where attention has a kernel
        let still = work.graphs.iter().all(|graph| graph.lora.is_some());
        let narrow = !on_cpu && still && ops::has_cuda_attention(config.head_dim);
        let number = if narrow { F32 / 2.0 } else { F32 };
        let graph = |graph: &Graph| {
            let lora = graph.lora.as_ref();
            let each = match on_cpu {
                true => Activations::on_cpu(config, lora),
                false => Activations::on_gpu(config, lora),
            };
            // one block at a time is computed again
            let whole = layers - blocks + usize::from(blocks > 0);
            let tokens =
                whole * each.layer + blocks * each.checkpointed_layer + each.gradients + head;
            let pairs = whole * each.layer_pairs + each.gradient_pairs;
            let numbers = work.largest.tokens * tokens + work.largest.pairs * pairs;
            let chunk = match (on_cpu, lora) {
                (true, _) => 0.0,
                (false, Some(_)) => HEAD_CHUNK,
                (false, None) => TRAINED_HEAD_CHUNK,
            };
            // a checkpointed block keeps its adapters side by side, too
            let adapters = F32 * (work.parameters * blocks) as f64 / layers as f64;
            let bytes = gaps * (each.bytes_per_number * numbers) as f64 + chunk;
            (
                graph.name,
                bytes + if lora.is_some() { adapters } else { 0.0 },
            )
        };
        // what a forward without graph has at once, in its feed-forward or its attention
        let scores = match on_cpu || narrow {
            true => 0,
            false => 4 * config.num_attention_heads,
        };
        let forward = |tokens: usize, longest: usize| {
            let longest = tokens.min(longest);
            gaps * number * (tokens * (3 * f + 5 * d) + longest * longest * scores) as f64
        };
        let draw = &work.drawing;
        let width = config.num_key_value_heads * config.head_dim;
        let growth = if on_cpu { CACHE_GROWTH } else { 1.0 };
        let cache = number * growth * (2 * layers * width * draw.cache_rows) as f64;
        // kept in main memory
        let states = match on_cpu {
            true => F32 * GROWTH * (d * draw.kept_states) as f64,
            false => 0.0,
        };
        let logits = (3 * draw.rows * v) as f64;
        let most = PREFILL.max(draw.longest_prompt);
        let prefill = forward(draw.prompt_tokens.min(most), draw.longest_prompt);
        let base = if on_cpu { PROCESS } else { CONTEXT };
        Self {
            weights: base + work.weight_bytes as f64,
            adapters: PER_PARAMETER * work.parameters as f64 + F32 * work.adapter_numbers as f64,
            graphs: work.graphs.iter().map(graph).collect(),
            // policy and reference are compared a chunk of the head at a time
            reading: forward(work.reading.tokens(), work.reading.longest)
                + if on_cpu { 0.0 } else { 2.0 * HEAD_LOGITS },
            // prompts are read before anything is drawn
            sampling: cache + states + (F32 * logits).max(prefill),
        }
    }

    /// Of the largest graph.
    pub fn activations(&self) -> f64 {
        self.graphs.iter().map(|(_, b)| *b).fold(0.0, f64::max)
    }

    pub fn total(&self) -> f64 {
        let phases = [self.activations(), self.sampling, self.reading];
        self.weights + self.adapters + phases.into_iter().fold(0.0, f64::max)
    }
}
