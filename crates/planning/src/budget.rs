//! How many layers a run checkpoints to stay within its memory, and the cheapest setting that would
//! make it fit where none do.

use crate::estimate::{Estimate, GB};
use crate::workload::Workload;
use anyhow::{Result, bail, ensure};
use serde_json::{Map, Value, json};
use train::FitConfig;

/// The settings that limit memory.
#[derive(Clone, Copy, Debug)]
pub struct MemoryConfig {
    /// `train.memory_gb`
    pub memory_gb: Option<f64>,
    /// `train.checkpoint_blocks`
    pub checkpoint_layers: Option<usize>,
}

/// The memory of a run, and the number of layers that it checkpoints.
#[derive(Clone, Debug)]
pub struct MemoryPlan {
    pub work: Workload,
    /// Checkpointed layers
    pub layers: usize,
    /// Bytes to stay within. None: unknown, or `train.checkpoint_blocks` decided
    pub budget: Option<f64>,
    pub estimate: Estimate,
    pub(crate) memory_gb: Option<f64>,
}

impl From<&FitConfig> for MemoryConfig {
    fn from(config: &FitConfig) -> Self {
        Self {
            memory_gb: config.memory_gb,
            checkpoint_layers: config.checkpoint_blocks,
        }
    }
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
            self.memory_gb.is_none() || self.checkpoint_layers.is_none(),
            "train.memory_gb and train.checkpoint_blocks both decide how many layers are \
             checkpointed; set one of them"
        );
        Ok(())
    }

    /// Checkpoints the fewest layers that fit. Without `train.memory_gb` the limit is the memory of
    /// this machine, or of its GPU.
    pub fn plan(&self, work: Workload) -> Result<MemoryPlan> {
        let usable = policy::usable_bytes(work.device);
        self.plan_within(work, usable.map(|bytes| bytes as f64))
    }

    /// The same with `usable` bytes. A GPU cannot give more than it has free.
    pub fn plan_within(&self, work: Workload, usable: Option<f64>) -> Result<MemoryPlan> {
        let asked = self.memory_gb.map(|gb| gb * GB);
        let (layers, budget) = match (self.checkpoint_layers, asked, usable) {
            (Some(n), _, _) => {
                let n_layers = work.shape.num_hidden_layers;
                ensure!(
                    n <= n_layers,
                    "train.checkpoint_blocks = {n}, but the model has {n_layers} layers"
                );
                (n, None)
            }
            (None, Some(asked), Some(free)) if !work.device.is_cpu() && free < asked => {
                (fewest_layers(&work, Some(free), None)?, Some(free))
            }
            (None, Some(_), _) => (fewest_layers(&work, asked, self.memory_gb)?, asked),
            (None, None, _) => (fewest_layers(&work, usable, None)?, usable),
        };
        Ok(MemoryPlan {
            layers,
            budget,
            estimate: Estimate::of(&work, layers),
            work,
            memory_gb: self.memory_gb,
        })
    }
}

impl MemoryPlan {
    /// Prints the summary and the largest parts to stderr.
    pub fn report(&self) {
        let e = &self.estimate;
        run::say!(
            "memory: about {} (weights {:.2}, adapters and optimiser {:.2}, activations {:.2}, \
             sampling {:.2})",
            self.summary(),
            e.weights / GB,
            e.adapters / GB,
            e.activations() / GB,
            e.sampling / GB,
        );
    }

    /// The total, its limit and the checkpointed layers, in one line.
    pub fn summary(&self) -> String {
        let limit = match (self.memory_gb, self.budget) {
            (Some(limit), _) => Some(format!(" of train.memory_gb = {limit}")),
            (None, budget) => budget.map(|bytes| format!(" of {:.2} GB usable", bytes / GB)),
        };
        format!(
            "{:.2} GB{}; {} of {} layers checkpointed",
            self.estimate.total() / GB,
            limit.unwrap_or_default(),
            self.layers,
            self.work.shape.num_hidden_layers,
        )
    }

    /// For run.json and plans.
    pub fn json(&self) -> Value {
        let gb = |bytes: f64| (bytes / GB * 1e6).round() / 1e6;
        let e = &self.estimate;
        let graphs = e.graphs.iter();
        let graphs: Map<String, Value> = graphs
            .map(|(name, bytes)| (name.to_string(), gb(*bytes).into()))
            .collect();
        json!({
            "checkpointed_blocks": self.layers,
            "blocks": self.work.shape.num_hidden_layers,
            "budget_gb": self.budget.map(gb),
            "estimate_gb": gb(e.total()),
            "weights_gb": gb(e.weights),
            "adapters_gb": gb(e.adapters),
            "activations_gb": gb(e.activations()),
            "graphs_gb": graphs,
            "reading_gb": gb(e.scoring),
            "sampling_gb": gb(e.sampling),
        })
    }
}

/// The fewest checkpointed layers within `budget` bytes (None: 0). Where none suffice, an error
/// with the cheapest setting that would. `memory_gb`: the setting that the budget comes from.
pub fn fewest_layers(
    work: &Workload,
    budget: Option<f64>,
    memory_gb: Option<f64>,
) -> Result<usize> {
    let n_layers = work.shape.num_hidden_layers;
    let Some(budget) = budget else { return Ok(0) };
    let total = |layers| Estimate::of(work, layers).total();
    if let Some(layers) = (0..=n_layers).find(|layers| total(*layers) <= budget) {
        return Ok(layers);
    }
    let limit = match memory_gb {
        Some(gb) => format!("more than train.memory_gb = {gb}"),
        None => format!("and {:.1} GB are free", budget / GB),
    };
    bail!(
        "training needs {:.1} GB with every layer checkpointed, {limit}: {}",
        total(n_layers) / GB,
        cheapest_change(work, budget).unwrap_or_else(|| smallest_need(work))
    )
}

/// The cheapest settings with which the run fits, every layer checkpointed: smaller forwards, else
/// fewer rows decoded together, else both.
pub(crate) fn cheapest_change(work: &Workload, budget: f64) -> Option<String> {
    let fits = |work: Workload| {
        let layers = work.shape.num_hidden_layers;
        Estimate::of(&work, layers).total() <= budget
    };
    let fewer_tokens = |work: &Workload| {
        let mut less = (work.longest..work.largest.tokens).rev();
        less.find(|tokens| fits(work.with_tokens(*tokens)))
    };
    let fewer_rows = |work: &Workload| {
        let mut less = (1..work.sampling.rows).rev();
        less.find(|rows| fits(work.with_rows(*rows)))
    };
    let key = work.sampling.rows_key;
    if let Some(tokens) = fewer_tokens(work) {
        return Some(format!("lower train.micro_batch_tokens to {tokens}"));
    }
    if let Some(rows) = fewer_rows(work) {
        return Some(format!("lower {key} to {rows}"));
    }
    let rows = fewer_rows(&work.with_tokens(work.longest))?;
    let tokens = fewer_tokens(&work.with_rows(rows)).unwrap_or(work.longest);
    Some(format!(
        "lower {key} to {rows} and train.micro_batch_tokens to {tokens}"
    ))
}

/// What the run needs in its smallest forwards, where no setting makes it fit.
fn smallest_need(work: &Workload) -> String {
    let least = work.with_tokens(work.longest).with_rows(1);
    let estimate = Estimate::of(&least, work.shape.num_hidden_layers);
    let (needs, whole) = (estimate.total() / GB, least.scoring.whole);
    let scoring_is_largest = estimate.scoring > estimate.activations().max(estimate.sampling);
    match scoring_is_largest && whole > least.scoring.longest.max(work.longest) {
        true => format!(
            "scoring {whole} tokens together needs {needs:.1} GB; raise train.memory_gb, or take \
             fewer rows per step"
        ),
        false => format!(
            "even one sequence of {} tokens needs {needs:.1} GB; raise train.memory_gb, or shorten \
             the data",
            work.longest
        ),
    }
}
