//! The memory that a training run holds at its peak, counted from sizes before its weights are
//! read. The constants of the CPU are measured. Those of a GPU are not: its count follows from the
//! operations that run there and from an assumed context.

use crate::sampling::Sampling;
use crate::workload::{Graph, Workload};
use models::{Activations, LoraConfig};

/// What differs between devices. In bytes unless noted.
struct Overhead {
    /// The process before it has read a model: code, threads, allocator, tokenizer and data; of a
    /// GPU the context, cuBLAS and its workspace
    process: f64,
    /// Ratio of memory held for activations to activations in use; the excess is fragmentation
    gaps: f64,
    /// Ratio of allocated cache rows to rows in use. On the CPU the cache grows by a quarter, and
    /// half of that is expected; on a GPU it is allocated whole
    cache_growth: f64,
    /// Ratio of main memory held for kept states to states in use: their buffers grow by doubling
    state_growth: f64,
    /// Logits that the head computes at once
    head_logits: f64,
}

/// `process` covers a tokenizer.json of up to so many bytes; each further byte costs this many
/// bytes of memory. With Qwen2.5's tokenizer a process takes 0.20 GB before it has read the model.
const TOKENIZER: (usize, f64) = (2_000_000, 24.0);

const CPU: Overhead = Overhead {
    process: 0.06e9,
    gaps: 1.02,
    cache_growth: 1.125,
    state_growth: 1.5,
    head_logits: 0.0,
};

const GPU: Overhead = Overhead {
    process: 0.7e9,
    gaps: 1.1,
    cache_growth: 1.0,
    state_growth: 0.0,
    head_logits: 16.8e6,
};

/// Copies of a trained number beside itself: its gradient in a micro-batch and in the step, and
/// AdamW's two moments
const PER_PARAMETER: f64 = 4.0 * F32;
/// Most tokens of one prefill, unless a prompt is longer
const PREFILL: usize = 2048;
const F32: f64 = 4.0;
pub(crate) const GB: f64 = 1e9;

/// Bytes of memory by purpose.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// The base and the process around it
    pub weights: f64,
    /// Adapters, and gradients and optimiser state of what is trained
    pub adapters: f64,
    /// Activations and gradients of one micro-batch, by graph. The graphs follow one another
    pub graphs: Vec<(&'static str, f64)>,
    /// One forward without a graph
    pub scoring: f64,
    /// Keys, values, logits and kept states while sampling
    pub sampling: f64,
}

impl Estimate {
    /// With the first `layers` layers checkpointed.
    pub fn of(work: &Workload, layers: usize) -> Self {
        let overhead = work.overhead();
        let graph = |graph: &Graph| (graph.name, work.graph_bytes(graph.lora.as_ref(), layers));
        let numbers = work.parameters();
        let adapters = if work.frozen_base() { numbers } else { 0 } + work.frozen_numbers;
        let scored = work.scoring.micro_batched.max(work.scoring.whole);
        // the logits of two models are compared
        let compared = 2.0 * F32 * overhead.head_logits;
        let weights = work.weights.bytes_in_use() + work.sampling_weights;
        let (within, each) = TOKENIZER;
        let tokenizer = each * work.tokenizer_bytes.saturating_sub(within) as f64;
        Self {
            weights: overhead.process + tokenizer + weights as f64,
            adapters: PER_PARAMETER * numbers as f64 + F32 * adapters as f64,
            graphs: work.graphs.iter().map(graph).collect(),
            scoring: work.forward_bytes(scored, work.scoring.longest) + compared,
            sampling: largest(work.sampling.iter().map(|sizes| work.sampling_bytes(sizes))),
        }
    }

    /// Of the largest graph.
    pub fn activations(&self) -> f64 {
        largest(self.graphs.iter().map(|(_, bytes)| *bytes))
    }

    /// At the peak: training, scoring and sampling follow one another.
    pub fn total(&self) -> f64 {
        let phases = [self.activations(), self.sampling, self.scoring];
        self.weights + self.adapters + largest(phases)
    }
}

fn largest(bytes: impl IntoIterator<Item = f64>) -> f64 {
    bytes.into_iter().fold(0.0, f64::max)
}

impl Workload {
    fn overhead(&self) -> &'static Overhead {
        if self.device.is_cpu() { &CPU } else { &GPU }
    }

    /// Whether activations and cache are bf16: on a GPU, where the base is frozen and a kernel
    /// computes its attention.
    fn bf16(&self) -> bool {
        !self.device.is_cpu() && self.frozen_base() && ops::has_cuda_attention(self.shape.head_dim)
    }

    /// Bytes of one number of activations and cache in a forward without a graph.
    fn number(&self) -> f64 {
        if self.bf16() { F32 / 2.0 } else { F32 }
    }

    /// Activations and gradients of the largest micro-batch.
    fn graph_bytes(&self, lora: Option<&LoraConfig>, checkpointed: usize) -> f64 {
        let (shape, overhead) = (&self.shape, self.overhead());
        // each thread of a CPU sums a part of the head's gradient
        let threads = || std::thread::available_parallelism().map_or(1, usize::from);
        let (each, head_parts) = match self.device.is_cpu() {
            true => (Activations::on_cpu(shape, lora), threads()),
            false => (Activations::on_gpu(shape, lora), 1),
        };
        // hidden states before and after the final norm, those before labels, the head's gradient
        let head = shape.hidden_size * (5 + head_parts);
        // one checkpointed layer at a time is computed again
        let layers = shape.num_hidden_layers;
        let whole = layers - checkpointed + usize::from(checkpointed > 0);
        let tokens =
            whole * each.layer + checkpointed * each.checkpointed_layer + each.gradients + head;
        let pairs = whole * each.layer_pairs + each.gradient_pairs;
        let largest = self.forwards.largest;
        let numbers = largest.tokens * tokens + largest.pairs * pairs;
        let bytes = overhead.gaps * (each.bytes_per_number * numbers) as f64;
        if lora.is_none() {
            // candle's own operations
            return bytes + 18.0 * overhead.head_logits;
        }
        // a checkpointed layer keeps a copy of its adapters
        let adapters = F32 * (self.parameters() * checkpointed) as f64 / layers as f64;
        // logits in f32, their gradient in bf16
        bytes + 1.5 * F32 * overhead.head_logits + adapters
    }

    /// A forward without a graph: what its feed-forward or its attention holds at once.
    fn forward_bytes(&self, tokens: usize, longest: usize) -> f64 {
        let per_token = 3 * self.shape.intermediate_size + 5 * self.shape.hidden_size;
        let per_pair = match self.device.is_cpu() || self.bf16() {
            true => 0,
            false => 4 * self.shape.num_attention_heads,
        };
        let longest = tokens.min(longest);
        let numbers = tokens * per_token + longest * longest * per_pair;
        self.overhead().gaps * self.number() * numbers as f64
    }

    /// Cache and kept states, and the larger of logits and prefill: prompts are read before
    /// anything is sampled.
    fn sampling_bytes(&self, sizes: &Sampling) -> f64 {
        let (shape, overhead) = (&self.shape, self.overhead());
        let width = shape.num_key_value_heads * shape.head_dim;
        let cached = 2 * shape.num_hidden_layers * width * sizes.cache_rows();
        let cache = self.number() * overhead.cache_growth * cached as f64;
        let states = shape.hidden_size * sizes.kept_states;
        let states = F32 * overhead.state_growth * states as f64;
        let logits = F32 * (3 * sizes.rows * shape.vocab_size) as f64;
        let longest = sizes.prompts.first().copied().unwrap_or(0);
        let prefill = sizes.prompt_tokens().min(PREFILL.max(longest));
        cache + states + logits.max(self.forward_bytes(prefill, longest))
    }
}
