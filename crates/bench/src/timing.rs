//! The timings of one process.

use crate::trained::Trained;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What one process reports about its steps, including the first.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Timing {
    pub secs: Vec<f64>,
    pub peak_gb: f64,
    /// Tokens of each step; for decoding and RL without the prompts
    #[serde(default)]
    pub tokens: Vec<f64>,
    /// Whether activations are checkpointed; `None` for decoding
    #[serde(default)]
    pub checkpointing: Option<bool>,
    /// The loss of each step, if it is logged
    #[serde(default)]
    pub losses: Vec<f64>,
    /// `None` for decoding
    #[serde(default)]
    pub trained: Option<Trained>,
    /// Seconds by phase of each step
    #[serde(skip)]
    pub phases: Vec<BTreeMap<String, f64>>,
    /// The other metrics of each step
    #[serde(skip)]
    pub metrics: Vec<BTreeMap<String, f64>>,
}
