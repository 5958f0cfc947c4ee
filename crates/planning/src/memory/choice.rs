//! How many blocks a run checkpoints so that it stays within its memory, or the cheapest change with which it would.

use super::{Estimate, Forward, GB, Reading, Workload};
use anyhow::{Result, bail, ensure};
use models::Config;
use serde_json::{Value, json};

/// The settings that decide.
#[derive(Clone, Copy, Debug)]
pub struct MemoryConfig {
    /// `train.memory_gb`
    pub memory_gb: Option<f64>,
    /// `train.checkpoint_blocks`
    pub checkpoint_blocks: Option<usize>,
}

/// What was chosen, and what the run will hold with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Checkpointed blocks
    pub blocks: usize,
    pub of_blocks: usize,
    /// Bytes within which it had to be; None: unlimited, unknown or given up for `train.checkpoint_blocks`
    pub budget: Option<f64>,
    pub estimate: Estimate,
    pub(super) memory_gb: Option<f64>,
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

    /// The fewest blocks that fit. Without a budget the limit is what the machine has, or the card, where it is here.
    pub fn choose(&self, config: &Config, work: &Workload) -> Result<Choice> {
        let usable = policy::usable_bytes(work.device);
        self.choose_within(config, work, usable.map(|bytes| bytes as f64))
    }

    /// The same with the limit of a machine, or of a card, of `usable` bytes. A card cannot be asked for more than it has free.
    pub fn choose_within(
        &self,
        config: &Config,
        work: &Workload,
        usable: Option<f64>,
    ) -> Result<Choice> {
        let of_blocks = config.num_hidden_layers;
        let (blocks, budget) = match self.checkpoint_blocks {
            Some(n) => {
                ensure!(
                    n <= of_blocks,
                    "train.checkpoint_blocks = {n}, and the model has {of_blocks} blocks"
                );
                (n, None)
            }
            None => {
                let given = self.memory_gb.map(|gb| gb * GB);
                let budget = match (given, usable) {
                    (Some(given), Some(free)) if !work.device.is_cpu() => Some(given.min(free)),
                    _ => given.or(usable),
                };
                let named = self.memory_gb.filter(|_| budget == given);
                (choose(config, work, budget, named)?, budget)
            }
        };
        Ok(Choice {
            blocks,
            of_blocks,
            budget,
            estimate: Estimate::of(config, work, blocks),
            memory_gb: self.memory_gb,
        })
    }
}

impl Choice {
    /// Says it on stderr.
    pub fn report(&self) {
        let of = match self.memory_gb {
            Some(limit) => format!(" of train.memory_gb = {limit}"),
            None => String::new(),
        };
        let e = &self.estimate;
        eprintln!(
            "memory: about {:.2} GB{of} (weights {:.2}, adapters and optimiser {:.2}, activations {:.2} or sampling {:.2}), {} of {} blocks checkpointed",
            e.total() / GB,
            e.weights / GB,
            e.adapters / GB,
            e.activations() / GB,
            e.sampling / GB,
            self.blocks,
            self.of_blocks,
        );
    }

    /// For run.json and plans.
    pub fn json(&self) -> Value {
        let gb = |bytes: f64| (bytes / GB * 1e6).round() / 1e6;
        let e = &self.estimate;
        let graphs = e.graphs.iter();
        let graphs: serde_json::Map<String, Value> = graphs
            .map(|(name, bytes)| (name.to_string(), gb(*bytes).into()))
            .collect();
        json!({
            "checkpointed_blocks": self.blocks,
            "blocks": self.of_blocks,
            "budget_gb": self.budget.map(gb),
            "estimate_gb": gb(e.total()),
            "weights_gb": gb(e.weights),
            "adapters_gb": gb(e.adapters),
            "activations_gb": gb(e.activations()),
            "graphs_gb": graphs,
            "reading_gb": gb(e.reading),
            "sampling_gb": gb(e.sampling),
        })
    }
}

/// The fewest checkpointed blocks within the budget, in bytes (None: 0), or the cheapest change that would fit.
pub fn choose(
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
    let limit = match memory_gb {
        Some(gb) => format!("of train.memory_gb = {gb}"),
        None => format!("and {:.1} GB are free", budget / GB),
    };
    bail!(
        "training needs {:.1} GB with every block checkpointed {limit}: {}",
        total(work, layers) / GB,
        change(config, work, budget).unwrap_or_else(|| too_large(config, work))
    )
}

/// The cheapest change with which every block checkpointed would fit: smaller forwards, then fewer rows drawn together, then both.
pub(super) fn change(config: &Config, work: &Workload, budget: f64) -> Option<String> {
    let layers = config.num_hidden_layers;
    let fits = |work: &Workload| Estimate::of(config, work, layers).total() <= budget;
    let most = work.drawing.rows;
    let fewer_tokens = |work: &Workload| {
        let tokens = (work.longest..work.largest.tokens).rev();
        tokens
            .map(|tokens| (tokens, with_tokens(work, tokens)))
            .find(|(_, less)| fits(less))
            .map(|(tokens, _)| tokens)
    };
    let fewer_rows = |work: &Workload| {
        let rows = (1..most).rev().map(|rows| (rows, with_rows(work, rows)));
        rows.into_iter()
            .find(|(_, less)| fits(less))
            .map(|(rows, _)| rows)
    };
    if let Some(tokens) = fewer_tokens(work) {
        return Some(format!("lower train.micro_batch_tokens to {tokens}"));
    }
    let key = work.drawing.rows_key;
    if let Some(rows) = fewer_rows(work) {
        return Some(format!("lower {key} to {rows}"));
    }
    let rows = fewer_rows(&shortest(work))?;
    let tokens = fewer_tokens(&with_rows(work, rows)).unwrap_or(work.longest);
    Some(format!(
        "lower {key} to {rows} and train.micro_batch_tokens to {tokens}"
    ))
}

/// Where no change fits.
fn too_large(config: &Config, work: &Workload) -> String {
    let least = match work.drawing.rows {
        0 => shortest(work),
        _ => with_rows(&shortest(work), 1),
    };
    let estimate = Estimate::of(config, &least, config.num_hidden_layers);
    let needs = estimate.total() / GB;
    let reading = &least.reading;
    let scores = reading.whole > reading.longest.max(work.longest);
    if scores && estimate.reading > estimate.activations().max(estimate.sampling) {
        return format!(
            "even so the scores of {} tokens, which are read together, need {needs:.1} GB; raise train.memory_gb, or take fewer rows a step",
            reading.whole
        );
    }
    format!(
        "even one sequence of {} tokens needs {needs:.1} GB; raise train.memory_gb, or shorten the data",
        work.longest
    )
}

/// The same run in the smallest forwards.
fn shortest(work: &Workload) -> Workload {
    with_tokens(work, work.longest.min(work.largest.tokens))
}

/// The same run in smaller forwards.
fn with_tokens(work: &Workload, tokens: usize) -> Workload {
    Workload {
        largest: Forward {
            tokens,
            pairs: work.largest.pairs.min(tokens * work.longest),
        },
        reading: Reading {
            cut: work.reading.cut.min(tokens.max(work.reading.longest)),
            ..work.reading
        },
        ..work.clone()
    }
}

/// The same run with fewer rows decoded together.
fn with_rows(work: &Workload, rows: usize) -> Workload {
    Workload {
        drawing: work.drawing.at_most(rows),
        ..work.clone()
    }
}
