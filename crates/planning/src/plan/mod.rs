//! What a run will take, before a weight of it is read: memory by phase, disk, tokens, steps and learning rates.
//! The numbers come from the pipelines, which begin a run by the same ones.

mod disk;
mod text;

pub use disk::{Disk, Stored};

use crate::memory::{Choice, MemoryConfig, Workload};
use anyhow::{Error, Result, anyhow};
use models::{ModelMeta, ModelSource, WeightsMeta};
use policy::PolicyMeta;
use policy::usable_bytes;
use serde_json::{Map, Value, json};
use std::path::Path;

/// A prediction.
#[derive(Clone, Debug)]
pub struct Plan {
    /// `sft`, `reward-model` or the name of a method
    pub what: String,
    pub model: Model,
    pub work: Workload,
    pub memory: Choice,
    pub disk: Disk,
    pub steps: Steps,
    pub tokens: Tokens,
    /// Of every step, by the section of the settings that says it
    pub rates: Vec<(&'static str, Vec<f64>)>,
    /// What was assumed
    pub notes: Vec<String>,
}

/// The base.
#[derive(Clone, Debug)]
pub struct Model {
    pub source: String,
    /// Numbers of all its weights
    pub weights: usize,
    pub weights_here: bool,
}

impl Model {
    pub fn of(meta: &PolicyMeta, weights: &WeightsMeta) -> Self {
        Self {
            source: meta.source.clone(),
            weights: weights.n_params,
            weights_here: weights.present,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Steps {
    /// As `train.max_steps` or `train.steps` counts them
    pub steps: usize,
    /// Updates of the weights
    pub optimiser_steps: usize,
    /// Rows to learn from, and what they are called
    pub rows: usize,
    pub rows_name: &'static str,
    /// Of those, for one step
    pub rows_per_step: usize,
}

/// How a number is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    Exact,
    /// Responses that will be drawn were taken at their longest
    AtMost,
    /// Rows that will be drawn by weight were taken for random ones
    About,
}

impl Certainty {
    fn words(self) -> &'static str {
        match self {
            Self::Exact => "",
            Self::AtMost => "at most ",
            Self::About => "about ",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Tokens {
    /// Through forwards with graph, all passes over them included
    pub trained: u64,
    pub certainty: Certainty,
    /// Drawn to learn from, at most
    pub drawn: u64,
    /// Drawn for evaluations and samples, at most
    pub drawn_to_look: u64,
}

/// How often a thing of this cadence happens in so many steps; the last step always counts.
pub fn times(steps: usize, every: usize) -> usize {
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

/// Says how a run is planned whose model, `text`, is a run still to be trained.
pub fn of_a_run_to_come(text: &str, error: Error) -> Error {
    match ModelSource::parse(text) {
        Err(_) if !Path::new(text).exists() => anyhow!(
            "{}; a run that is still to be trained is planned from the model that it begins with",
            run::one_line(&error)
        ),
        _ => error,
    }
}

/// What a reader must know of the numbers.
pub fn notes(work: &Workload, memory: MemoryConfig, weights: &WeightsMeta) -> Vec<String> {
    let mut notes = Vec::new();
    let frozen = work.graphs.iter().all(|graph| graph.lora.is_some());
    if !weights.present && work.device.is_cpu() && frozen {
        notes.push(
            "the weights are not here: whether bf16 holds them was taken from the dtype of config.json"
                .into(),
        );
    }
    if !work.device.is_cpu() {
        notes.push(
            "a card's figures are computed from the operations that run there; none was measured"
                .into(),
        );
        if memory.memory_gb.is_none() && usable_bytes(work.device).is_none() {
            notes.push(
                "the card's memory is not known here: give --memory-gb to fit within it".into(),
            );
        }
    }
    notes
}

impl Plan {
    /// Prints it, or says in an error what cannot fit.
    pub fn print(&self, as_json: bool) -> Result<()> {
        self.disk.require()?;
        match as_json {
            true => run::print(&format!("{:#}\n", self.json())),
            false => run::print(&text::of(self)),
        }
    }

    pub fn json(&self) -> Value {
        let Steps {
            steps,
            optimiser_steps,
            rows,
            rows_name,
            rows_per_step,
        } = &self.steps;
        let mut memory = self.memory.json();
        memory["measured"] = self.work.device.is_cpu().into();
        memory["largest_forward_tokens"] = self.work.largest.tokens.into();
        let rates = self.rates.iter();
        let rates: Map<String, Value> = rates
            .map(|(name, values)| (name.to_string(), json!(values)))
            .collect();
        json!({
            "what": self.what,
            "model": {
                "source": self.model.source,
                "weights": self.model.weights,
                "weights_here": self.model.weights_here,
                "trained": self.work.parameters,
                "on_cpu": self.work.device.is_cpu(),
            },
            "steps": {
                "steps": steps,
                "optimiser_steps": optimiser_steps,
                "rows": rows,
                "rows_are": rows_name,
                "rows_per_step": rows_per_step,
            },
            "tokens": {
                "trained": self.tokens.trained,
                "trained_is": format!("{:?}", self.tokens.certainty),
                "drawn_at_most": self.tokens.drawn,
                "drawn_to_look_at_most": self.tokens.drawn_to_look,
            },
            "memory": memory,
            "disk": self.disk.json(),
            "learning_rate": rates,
            "notes": self.notes,
        })
    }
}
