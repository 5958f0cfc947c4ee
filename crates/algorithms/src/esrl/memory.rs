//! The record of each prompt from the last time it was sampled.

use crate::estimators::mean;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// In JSON an object whose keys are the prompts' keys in decimal.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Memory(BTreeMap<u64, Record>);

/// Means over the prompt's samples. f32, which JSON carries exactly.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub capability: f32,
    /// The score, without penalties.
    pub reward: f32,
}

impl Memory {
    /// A later record replaces an earlier one: Eq. 7 and 8 use the previous epoch only.
    pub fn record(&mut self, prompt: u64, record: Record) {
        self.0.insert(prompt, record);
    }

    /// The prompts without a record, each once, in order.
    pub fn unseen(&self, prompts: &[u64]) -> Vec<u64> {
        let mut seen = BTreeSet::new();
        let new = |key: &u64| !self.0.contains_key(key) && seen.insert(*key);
        prompts.iter().copied().filter(new).collect()
    }

    pub fn reward(&self, prompt: u64) -> Option<f64> {
        self.0.get(&prompt).map(|record| f64::from(record.reward))
    }

    /// One per prompt. A prompt without a record gets the mean of the others, or 1 if none has one.
    pub fn capabilities(&self, prompts: &[u64]) -> Vec<f64> {
        let found: Vec<Option<f64>> = prompts
            .iter()
            .map(|key| self.0.get(key).map(|record| f64::from(record.capability)))
            .collect();
        let known: Vec<f64> = found.iter().flatten().copied().collect();
        let default = if known.is_empty() { 1.0 } else { mean(&known) };
        found.into_iter().map(|c| c.unwrap_or(default)).collect()
    }
}
