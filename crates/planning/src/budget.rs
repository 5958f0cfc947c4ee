//! How many layers a run checkpoints to stay within its memory, and the cheapest setting that would
//! make it fit where none do.

use crate::estimate::{Estimate, GB};
use crate::workload::Workload;
use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
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
        let n_layers = work.shape.num_hidden_layers;
        let asked = self.memory_gb.map(|gb| gb * GB);
        let short = |asked: f64| !work.device.is_cpu() && usable.is_some_and(|free| free < asked);
        let (budget, memory_gb) = match asked.is_none_or(short) {
            true => (usable, None),
            false => (asked, self.memory_gb),
        };
        let (layers, budget) = match self.checkpoint_layers {
            Some(n) if n > n_layers => {
                bail!("train.checkpoint_blocks = {n}, but the model has {n_layers} layers")
            }
            Some(n) => (n, None),
            None => (fewest_layers(&work, budget, memory_gb)?, budget),
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
        let (e, gb) = (&self.estimate, |bytes: f64| format!("{:.2}", bytes / GB));
        let weights = format!("weights {}", gb(e.weights));
        let adapters = format!("adapters and optimiser {}", gb(e.adapters));
        let (graph, sampling) = (gb(e.activations()), gb(e.sampling));
        let parts = format!("{weights}, {adapters}, activations {graph}, sampling {sampling}");
        run::say!("memory: about {} ({parts})", self.summary());
    }

    /// The total, its limit and the checkpointed layers, in one line.
    pub fn summary(&self) -> String {
        let limit = match (self.memory_gb, self.budget) {
            (Some(limit), _) => format!(" of train.memory_gb = {limit}"),
            (None, Some(bytes)) => format!(" of {:.2} GB usable", bytes / GB),
            (None, None) => String::new(),
        };
        let (total, n) = (
            self.estimate.total() / GB,
            self.work.shape.num_hidden_layers,
        );
        format!(
            "{total:.2} GB{limit}; {} of {n} layers checkpointed",
            self.layers
        )
    }

    /// For run.json and plans.
    pub fn json(&self) -> Value {
        let gb = |bytes: f64| (bytes / GB * 1e6).round() / 1e6;
        let e = &self.estimate;
        let graphs = e.graphs.iter().map(|(name, bytes)| (*name, gb(*bytes)));
        json!({
            "checkpointed_blocks": self.layers,
            "blocks": self.work.shape.num_hidden_layers,
            "budget_gb": self.budget.map(gb),
            "estimate_gb": gb(e.total()),
            "weights_gb": gb(e.weights),
            "adapters_gb": gb(e.adapters),
            "activations_gb": gb(e.activations()),
            "graphs_gb": graphs.collect::<BTreeMap<_, _>>(),
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
    const SAME: usize = usize::MAX;
    let layers = work.shape.num_hidden_layers;
    let fits = |tokens, rows| Estimate::of(&work.within(tokens, rows), layers).total() <= budget;
    let fewer_tokens = |rows| {
        let mut less = (work.longest..work.largest.tokens).rev();
        less.find(|tokens| fits(*tokens, rows))
    };
    let fewer_rows = |tokens| {
        (1..work.sampling.rows)
            .rev()
            .find(|rows| fits(tokens, *rows))
    };
    let lower_tokens = |n: usize| format!("train.micro_batch_tokens to {n}");
    let lower_rows = |n: usize| format!("{} to {n}", work.rows_key);
    if let Some(tokens) = fewer_tokens(SAME) {
        return Some(format!("lower {}", lower_tokens(tokens)));
    }
    if let Some(rows) = fewer_rows(SAME) {
        return Some(format!("lower {}", lower_rows(rows)));
    }
    let rows = fewer_rows(work.longest)?;
    let tokens = fewer_tokens(rows).unwrap_or(work.longest);
    Some(format!(
        "lower {} and {}",
        lower_rows(rows),
        lower_tokens(tokens)
    ))
}

/// What the run needs in its smallest forwards, where no setting makes it fit.
fn smallest_need(work: &Workload) -> String {
    let least = work.within(work.longest, 1);
    let e = Estimate::of(&least, work.shape.num_hidden_layers);
    let (needs, longest, whole) = (e.total() / GB, work.longest, least.scoring.whole);
    let scoring_is_largest = e.scoring > e.activations().max(e.sampling);
    match scoring_is_largest && whole > least.scoring.longest.max(longest) {
        true => format!(
            "scoring {whole} tokens together needs {needs:.1} GB; raise train.memory_gb, or take \
             fewer rows per step"
        ),
        false => format!(
            "even one sequence of {longest} tokens needs {needs:.1} GB; raise train.memory_gb, or \
             shorten the data"
        ),
    }
}
