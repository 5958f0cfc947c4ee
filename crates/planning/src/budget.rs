//! How many layers a run checkpoints to stay within its memory, and the cheapest setting that would
//! make it fit where none do.

use crate::estimate::{Estimate, GB};
use crate::plan::Plan;
use crate::workload::Workload;
use anyhow::{Result, bail, ensure};
use std::ops::Range;

/// Refuses values of `train.memory_gb` and `train.checkpoint_blocks` that cannot work.
pub fn check_limits(memory_gb: Option<f64>, checkpoint_layers: Option<usize>) -> Result<()> {
    if let Some(gb) = memory_gb {
        ensure!(
            gb.is_finite() && gb > 0.0,
            "train.memory_gb = {gb} must be a number above 0"
        );
    }
    ensure!(
        memory_gb.is_none() || checkpoint_layers.is_none(),
        "train.memory_gb and train.checkpoint_blocks both decide how many layers are checkpointed; \
         set one of them"
    );
    Ok(())
}

impl Workload {
    /// Checkpoints the fewest layers that fit. Without `train.memory_gb` the limit is the memory of
    /// this machine, or of its GPU.
    pub fn plan(self) -> Result<Plan> {
        let usable = policy::usable_bytes(self.device);
        self.plan_within(usable.map(|bytes| bytes as f64))
    }

    /// The same with `usable` bytes. A GPU cannot give more than it has free.
    pub fn plan_within(self, usable: Option<f64>) -> Result<Plan> {
        let n_layers = self.shape.num_hidden_layers;
        let short = |gb: f64| !self.device.is_cpu() && usable.is_some_and(|free| free < gb * GB);
        let memory_gb = self.memory_gb.filter(|gb| !short(*gb));
        let budget = memory_gb.map(|gb| gb * GB).or(usable);
        let (layers, budget) = match self.checkpoint_layers {
            Some(n) if n > n_layers => {
                bail!("train.checkpoint_blocks = {n}, but the model has {n_layers} layers")
            }
            Some(n) => (n, None),
            None => (fewest_layers(&self, budget, memory_gb)?, budget),
        };
        Ok(Plan {
            layers,
            budget,
            estimate: Estimate::of(&self, layers),
            work: self,
        })
    }
}

impl Plan {
    /// Prints the summary and the largest parts to stderr.
    pub fn report(&self) {
        let (e, gb) = (&self.estimate, |bytes: f64| format!("{:.2}", bytes / GB));
        let (weights, adapters, sampling) = (gb(e.weights), gb(e.adapters), gb(e.sampling));
        let activations = gb(e.activations());
        run::say!(
            "memory: about {} (weights {weights}, adapters and optimiser {adapters}, activations \
             {activations}, sampling {sampling})",
            self.summary()
        );
    }

    /// The total, its limit and the checkpointed layers, in one line.
    pub fn summary(&self) -> String {
        let limit = match (self.work.memory_gb, self.budget) {
            (Some(limit), _) => format!(" of train.memory_gb = {limit}"),
            (None, Some(bytes)) => format!(" of {:.2} GB usable", bytes / GB),
            (None, None) => String::new(),
        };
        let (total, layers) = (self.estimate.total() / GB, self.layers);
        let n_layers = self.work.shape.num_hidden_layers;
        format!("{total:.2} GB{limit}; {layers} of {n_layers} layers checkpointed")
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
    let longest = work.forwards.longest_unit;
    let most_tokens = work.forwards.largest.tokens.max(longest + 1);
    let most_rows = work.sampling.iter().map(|sizes| sizes.rows).max();
    let fits = |tokens, rows| {
        let less = work.within(tokens, rows);
        Estimate::of(&less, work.shape.num_hidden_layers).total() <= budget
    };
    let fewer_tokens = |rows| largest(longest..most_tokens, |n| fits(Some(n), rows));
    let fewer_rows = |tokens| largest(1..most_rows.unwrap_or(1), |n| fits(tokens, Some(n)));
    let (tokens, rows) = match (fewer_tokens(None), fewer_rows(None)) {
        (Some(tokens), _) => (Some(tokens), None),
        (None, Some(rows)) => (None, Some(rows)),
        (None, None) => {
            let rows = fewer_rows(Some(longest))?;
            (fewer_tokens(Some(rows)), Some(rows))
        }
    };
    let rows = rows.map(|n| format!("{} to {n}", work.rows_key));
    let tokens = tokens.map(|n| format!("train.micro_batch_tokens to {n}"));
    let lower: Vec<String> = rows.into_iter().chain(tokens).collect();
    Some(format!("lower {}", lower.join(" and ")))
}

/// The largest number that fits. Each number below one that fits does, too.
fn largest(mut numbers: Range<usize>, fits: impl Fn(usize) -> bool) -> Option<usize> {
    let mut fitting = None;
    while !numbers.is_empty() {
        let middle = numbers.start + numbers.len() / 2;
        match fits(middle) {
            true => (fitting, numbers.start) = (Some(middle), middle + 1),
            false => numbers.end = middle,
        }
    }
    fitting
}

/// What the run needs in its smallest forwards, where no setting makes it fit.
fn smallest_need(work: &Workload) -> String {
    let longest = work.forwards.longest_unit;
    let least = work.within(Some(longest), Some(1));
    let e = Estimate::of(&least, work.shape.num_hidden_layers);
    let (needs, whole) = (e.total() / GB, least.scoring.whole);
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
