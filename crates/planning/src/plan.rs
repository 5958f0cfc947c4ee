//! What a run will take: `plan` prints it, and the run starts from it.

use crate::disk::Disk;
use crate::estimate::{Estimate, GB};
use crate::workload::Workload;
use anyhow::{Error, Result, anyhow};
use models::ModelSource;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// A prediction.
#[derive(Clone)]
pub struct Plan {
    pub work: Workload,
    /// Checkpointed layers
    pub layers: usize,
    /// Bytes of memory to stay within. None: unknown, or `train.checkpoint_blocks` decided
    pub budget: Option<f64>,
    pub estimate: Estimate,
}

/// How often something with this cadence happens in so many steps. The last step always counts; a
/// cadence of 0 means the last step only.
///
/// ```
/// assert_eq!(planning::n_times(10, 4), 3);
/// assert_eq!(planning::n_times(10, 0), 1);
/// ```
pub fn n_times(steps: usize, every: usize) -> usize {
    match every {
        0 => 1,
        every => steps.div_ceil(every),
    }
}

/// Adds advice where the model `text` cannot be opened because it is a run yet to be trained.
pub fn explain_untrained_source(text: &str, error: Error) -> Error {
    match ModelSource::parse(text) {
        Err(_) if !Path::new(text).exists() => anyhow!(
            "{}; to plan from a run that is not trained yet, give the model that it starts from",
            run::one_line(&error)
        ),
        _ => error,
    }
}

impl Plan {
    /// Prints the plan, or returns an error where the disk has no room.
    pub fn print(&self, as_json: bool) -> Result<()> {
        self.work.require_space()?;
        match as_json {
            true => run::print(&format!("{:#}\n", self.json())),
            false => run::print(&self.text()),
        }
    }

    /// What a reader must know about the numbers.
    pub(crate) fn notes(&self) -> Vec<&str> {
        let work = &self.work;
        let mut notes = Vec::new();
        if !work.device.is_cpu() {
            notes.push("the GPU's figures are computed from its operations, not measured");
            if work.memory_gb.is_none() && policy::usable_bytes(work.device).is_none() {
                notes.push("the GPU's memory is unknown here: give --memory-gb to fit within it");
            }
        } else if work.frozen_base() && !work.weights.present {
            notes
                .push("the weights are not here: the dtype of config.json says if bf16 holds them");
        }
        notes.extend(work.assumed.as_deref());
        notes
    }

    /// Everything, with the learning rate of every step.
    pub fn json(&self) -> Value {
        let work = &self.work;
        let mut memory = self.memory_json();
        memory["measured"] = work.device.is_cpu().into();
        memory["largest_forward_tokens"] = work.forwards.largest.tokens.into();
        let rates = work.rates.iter().map(|(section, rate)| {
            let curve = (0..work.steps).map(|step| rate(step)).collect();
            (section.to_string(), curve)
        });
        json!({
            "what": work.stage,
            "model": {
                "source": work.source,
                "weights": work.weights.n_params,
                "weights_here": work.weights.present,
                "trained": work.parameters(),
                "on_cpu": work.device.is_cpu(),
            },
            "steps": {
                "steps": work.steps,
                "optimiser_steps": work.forwards.optimiser_steps,
                "rows": work.rows,
                "rows_are": work.rows_are,
                "rows_per_step": work.rows_per_step,
            },
            "tokens": {
                "trained": work.forwards.tokens,
                "trained_is": work.trained_is,
                "drawn_at_most": work.sampled_tokens,
                "drawn_to_look_at_most": work.evaluated_tokens,
            },
            "memory": memory,
            "disk": Disk::of(work),
            "learning_rate": rates.collect::<Map<String, Value>>(),
            "notes": self.notes(),
        })
    }

    /// The memory, for run.json and plans.
    pub fn memory_json(&self) -> Value {
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
