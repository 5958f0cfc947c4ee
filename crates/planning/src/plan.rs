//! What a run will take, as one record: `plan` prints it, and the run starts from it.

use crate::budget::MemoryPlan;
use crate::disk::Disk;
use anyhow::{Error, Result, anyhow};
use models::{ModelMeta, ModelSource, WeightsMeta};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::path::Path;

/// A prediction.
pub struct Plan {
    /// `sft`, `reward-model` or the name of a method
    pub stage: String,
    /// The base and its weights
    pub source: String,
    pub weights: WeightsMeta,
    pub memory: MemoryPlan,
    pub disk: Disk,
    pub steps: Steps,
    pub tokens: Tokens,
    /// The learning rate at a step, from 0, by the section of the settings that decides it
    pub rates: Vec<(&'static str, LearningRate)>,
    /// What the stage assumed, or takes otherwise than its settings say
    pub assumed: Option<String>,
}

pub type LearningRate = Box<dyn Fn(usize) -> f64>;

#[derive(Serialize)]
pub struct Steps {
    /// As `train.max_steps` or `train.steps` counts them
    pub steps: usize,
    /// Updates of the weights
    pub optimiser_steps: usize,
    /// Rows to learn from, and what they are called
    pub rows: usize,
    pub rows_are: &'static str,
    pub rows_per_step: usize,
}

/// How far a number of tokens can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Certainty {
    Exact,
    /// Responses yet to be sampled count with their longest length
    AtMost,
    /// Rows yet to be drawn by weight count as random ones
    About,
}

#[derive(Serialize)]
pub struct Tokens {
    /// Through forwards with a graph, in all passes over them
    pub trained: u64,
    pub trained_is: Certainty,
    /// Sampled to learn from
    #[serde(rename = "drawn_at_most")]
    pub sampled_at_most: u64,
    /// Sampled for evaluations and samples/
    #[serde(rename = "drawn_to_look_at_most")]
    pub evaluated_at_most: u64,
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

/// Bytes of tokenizer.json.
pub fn tokenizer_bytes(base: &ModelMeta) -> Result<usize> {
    let text = base.tokenizer.to_string(false);
    Ok(text.map_err(|e| anyhow!("tokenizer: {e}"))?.len())
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
        self.disk.require()?;
        match as_json {
            true => run::print(&format!("{:#}\n", self.json())),
            false => run::print(&self.text()),
        }
    }

    /// What a reader must know about the numbers.
    pub(crate) fn notes(&self) -> Vec<&str> {
        let (memory, device) = (&self.memory, self.memory.work.device);
        let mut notes = Vec::new();
        if !device.is_cpu() {
            notes.push("the GPU's figures are computed from its operations, not measured");
            if memory.memory_gb.is_none() && policy::usable_bytes(device).is_none() {
                notes.push("the GPU's memory is unknown here: give --memory-gb to fit within it");
            }
        } else if memory.work.frozen_base() && !self.weights.present {
            notes
                .push("the weights are not here: the dtype of config.json says if bf16 holds them");
        }
        notes.extend(self.assumed.as_deref());
        notes
    }

    /// Everything, with the learning rate of every step.
    pub fn json(&self) -> Value {
        let work = &self.memory.work;
        let mut memory = self.memory.json();
        memory["measured"] = work.device.is_cpu().into();
        memory["largest_forward_tokens"] = work.largest.tokens.into();
        let rates = self.rates.iter().map(|(section, rate)| {
            let curve = (0..self.steps.steps).map(rate).collect();
            (section.to_string(), curve)
        });
        json!({
            "what": self.stage,
            "model": {
                "source": self.source,
                "weights": self.weights.n_params,
                "weights_here": self.weights.present,
                "trained": work.parameters,
                "on_cpu": work.device.is_cpu(),
            },
            "steps": self.steps,
            "tokens": self.tokens,
            "memory": memory,
            "disk": self.disk.json(),
            "learning_rate": rates.collect::<Map<String, Value>>(),
            "notes": self.notes(),
        })
    }
}
