//! What a training run holds at its peak, counted from sizes before its first step, and how many blocks it must checkpoint to stay
//! within a budget. The count is of activations in f32 on the CPU; the constants are measured (LOG.md).

use anyhow::{Result, bail, ensure};
use llama::{Activations, Config, Llama, LoraConfig};
use serde_json::{Value, json};

/// The process before it has read a model: code, threads, allocator, tokenizer.
const PROCESS: f64 = 0.1e9;
/// Copies of a trained number: itself, its gradient in a micro-batch and in the step, and AdamW's two moments.
const PER_PARAMETER: f64 = 5.0 * F32;
/// Share of the activations that lies in the gaps of the heap.
const GAPS: f64 = 1.05;
/// Rows of the cache for each in use: it grows by a quarter.
const CACHE_GROWTH: f64 = 1.25;
/// Kept states for each in use: they grow by doubling.
const GROWTH: f64 = 1.5;
/// Tokens of one prefill, which keeps nothing.
const PREFILL: usize = 2048;
const F32: f64 = 4.0;
const GB: f64 = 1e9;

/// What one optimiser step of a run works on.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Of the base, as it is kept
    pub weight_bytes: usize,
    /// Trained numbers: adapters and heads, or the base
    pub parameters: usize,
    /// Numbers of adapters that stand still
    pub frozen: usize,
    /// The adapter of each graph, which come one after the other (policy, critic); None: the base's own weights
    pub graphs: Vec<Option<LoraConfig>>,
    /// Most tokens of a forward with graph
    pub tokens: usize,
    /// Tokens of the longest sequence, below which no micro-batch can go
    pub longest: usize,
    /// Most rows of keys and values while sampling
    pub cache_rows: usize,
    /// Rows decoded together
    pub decoded: usize,
    /// Tokens drawn of which the hidden state is kept
    pub kept_states: usize,
}

/// Tokens of the largest micro-batch to expect of a batch of such items: within `max` but for an item that is longer. A batch is drawn at
/// random, so it counts three standard deviations above the mean, and at most the longest items together.
pub fn micro_batch(lens: impl IntoIterator<Item = usize>, batch: usize, max: usize) -> usize {
    let mut lens: Vec<usize> = lens.into_iter().collect();
    lens.sort_unstable_by(|a, b| b.cmp(a));
    let longest = lens.first().copied().unwrap_or(0);
    let taken = lens.len().min(batch);
    let most: usize = lens[..taken].iter().sum();
    let (all, n) = (lens.len().max(1) as f64, taken as f64);
    let mean = lens.iter().sum::<usize>() as f64 / all;
    let squares = lens.iter().map(|len| (*len as f64 - mean).powi(2));
    let variance = squares.sum::<f64>() / all;
    let likely = n * mean + 3.0 * (n * variance).sqrt();
    longest.max(max.min(most).min(likely.ceil() as usize))
}

/// Bytes by what holds them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    pub weights: f64,
    /// Trained parameters with gradients and optimiser, and adapters that stand still
    pub adapters: f64,
    /// Of one micro-batch: what the graph keeps, and the gradients on the way
    pub activations: f64,
    /// Keys, values, logits and kept states while sampling; not at the same time as activations
    pub sampling: f64,
}

impl Estimate {
    /// With the first `blocks` blocks checkpointed.
    pub fn of(config: &Config, work: &Workload, blocks: usize) -> Self {
        let layers = config.num_hidden_layers;
        let (d, v) = (config.hidden_size, config.vocab_size);
        let graph = |lora: &Option<LoraConfig>| {
            let each = Activations::of(config, lora.as_ref());
            let kept = (layers - blocks) * each.block + blocks * each.checkpointed;
            // one block at a time is computed again
            kept + each.gradients + if blocks > 0 { each.block } else { 0 }
        };
        // hidden states before and after the final norm, those before labels, and the head's gradient, one part per thread
        let head = d * (5 + std::thread::available_parallelism().map_or(1, usize::from));
        let per_token = work.graphs.iter().map(graph).max().unwrap_or(0) + head;
        let width = config.num_key_value_heads * config.head_dim;
        let cache = CACHE_GROWTH * (2 * layers * width * work.cache_rows) as f64;
        let states = GROWTH * (d * work.kept_states) as f64;
        let prefill = PREFILL.min(work.cache_rows) * (3 * config.intermediate_size + 4 * d);
        Self {
            weights: PROCESS + work.weight_bytes as f64,
            adapters: PER_PARAMETER * work.parameters as f64 + F32 * work.frozen as f64,
            activations: GAPS * F32 * (work.tokens * per_token) as f64,
            sampling: F32 * (cache + states + (prefill + 3 * work.decoded * v) as f64),
        }
    }

    pub fn total(&self) -> f64 {
        self.weights + self.adapters + self.activations.max(self.sampling)
    }
}

/// The settings that decide.
#[derive(Clone, Copy, Debug)]
pub struct MemoryConfig {
    /// `train.memory_gb`
    pub memory_gb: Option<f64>,
    /// `train.checkpoint_blocks`
    pub checkpoint_blocks: Option<usize>,
}

impl MemoryConfig {
    /// Refuses values that cannot work.
    pub fn check(&self) -> Result<()> {
        if let Some(gb) = self.memory_gb {
            ensure!(
                gb.is_finite() && gb > 0.0,
                "train.memory_gb = {gb} must be a number above 0"
            );
        }
        ensure!(
            self.memory_gb.is_none() || self.checkpoint_blocks.is_none(),
            "train.memory_gb chooses how many blocks are checkpointed, and train.checkpoint_blocks says it; give one of them"
        );
        Ok(())
    }

    /// Makes the model checkpoint the fewest blocks that fit, says so, and returns it for run.json. Without a budget the limit is
    /// what the machine has, where that is known and the model is in it.
    pub fn apply(&self, model: &mut Llama, work: &Workload) -> Result<Value> {
        let layers = model.config.num_hidden_layers;
        let usable = run::usable_memory_bytes().filter(|_| model.device().is_cpu());
        let budget = self.memory_gb.map(|gb| gb * GB);
        let (blocks, budget) = match self.checkpoint_blocks {
            Some(n) => {
                ensure!(
                    n <= layers,
                    "train.checkpoint_blocks = {n}, and the model has {layers} blocks"
                );
                (n, None)
            }
            None => {
                let budget = budget.or(usable.map(|bytes| bytes as f64));
                (fewest(&model.config, work, budget, self.memory_gb)?, budget)
            }
        };
        model.checkpoint_blocks(blocks);
        let estimate = Estimate::of(&model.config, work, blocks);
        let gb = |bytes: f64| (bytes / GB * 1e6).round() / 1e6;
        let of = match self.memory_gb {
            Some(limit) => format!(" of train.memory_gb = {limit}"),
            None => String::new(),
        };
        eprintln!(
            "memory: about {:.2} GB{of} (weights {:.2}, adapters and optimiser {:.2}, activations {:.2} or sampling {:.2}), {blocks} of {layers} blocks checkpointed",
            estimate.total() / GB,
            estimate.weights / GB,
            estimate.adapters / GB,
            estimate.activations / GB,
            estimate.sampling / GB,
        );
        Ok(json!({
            "checkpointed_blocks": blocks,
            "budget_gb": budget.map(gb),
            "estimate_gb": gb(estimate.total()),
            "weights_gb": gb(estimate.weights),
            "adapters_gb": gb(estimate.adapters),
            "activations_gb": gb(estimate.activations),
            "sampling_gb": gb(estimate.sampling),
        }))
    }
}

/// The fewest checkpointed blocks within the budget, in bytes (None: 0), or the cheapest change that would fit.
pub fn fewest(
    config: &Config,
    work: &Workload,
    budget: Option<f64>,
    memory_gb: Option<f64>,
) -> Result<usize> {
    let layers = config.num_hidden_layers;
    let Some(budget) = budget else { return Ok(0) };
    let total = |work: &Workload, blocks| Estimate::of(config, work, blocks).total();
    if let Some(blocks) = (0..=layers).find(|blocks| total(work, *blocks) <= budget) {
        return Ok(blocks);
    }
    let least = total(work, layers);
    let limit = match memory_gb {
        Some(gb) => format!("of train.memory_gb = {gb}"),
        None => format!("and {:.1} GB are free", budget / GB),
    };
    let with = |tokens| Workload {
        tokens,
        ..work.clone()
    };
    let cut = (work.longest..work.tokens)
        .rev()
        .find(|tokens| total(&with(*tokens), layers) <= budget);
    let shortest = |rows| Workload {
        cache_rows: rows,
        ..with(work.longest)
    };
    let change = match cut {
        Some(tokens) => format!("lower train.micro_batch_tokens to {tokens}"),
        None if total(&shortest(0), layers) <= budget => "lower rollout.max_rows".to_string(),
        None => format!(
            "even one sequence of {} tokens needs {:.1} GB; raise train.memory_gb, or shorten the data",
            work.longest,
            total(&shortest(work.cache_rows), layers) / GB
        ),
    };
    bail!(
        "training needs {:.1} GB with every block checkpointed {limit}: {change}",
        least / GB
    )
}
