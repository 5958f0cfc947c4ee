//! What the loop keeps from step to step and in a checkpoint.

use data::Cursor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A checkpoint's state.json.
#[derive(Serialize, Deserialize)]
pub(super) struct FitState {
    pub step: usize,
    pub cursor: Cursor,
    pub seed: u64,
    pub n_items: usize,
    pub start_loss: f64,
    pub last_loss: f64,
    pub best: Option<Best>,
    pub window: Window,
}

/// The evaluation with the lowest held-out loss.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    pub step: usize,
    pub loss: f64,
}

/// Sums since the last logged row.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Window {
    pub loss: f64,
    pub count: f64,
    pub metrics: BTreeMap<String, f64>,
    pub pace: Pace,
}

/// The cost of the window's steps. In one struct, so that a checkpoint without seconds counts
/// neither steps nor tokens.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Pace {
    pub steps: u64,
    pub tokens: u64,
    /// Seconds by phase, `time/…`
    pub secs: BTreeMap<String, f64>,
}

impl Window {
    /// The row to log: `train/<name>` per counted item, `time/<phase>` per step.
    pub fn row(self) -> BTreeMap<String, f64> {
        let Pace {
            steps,
            tokens,
            secs,
        } = self.pace;
        let mut row = BTreeMap::from([
            ("train/loss".to_string(), self.loss / self.count),
            (
                "train/tokens_per_sec".to_string(),
                tokens as f64 / secs["time/step"].max(1e-9),
            ),
        ]);
        let sums = self.metrics.into_iter();
        row.extend(sums.map(|(name, sum)| (format!("train/{name}"), sum / self.count)));
        row.extend(
            secs.into_iter()
                .map(|(phase, secs)| (phase, secs / steps as f64)),
        );
        row
    }
}

/// What one optimiser step gives the log.
pub(super) struct FitStep {
    pub loss: f64,
    pub lr: f64,
    pub grad_norm: f64,
    pub tokens: usize,
}
