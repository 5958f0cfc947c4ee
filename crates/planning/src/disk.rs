//! The disk that a run directory takes.

use crate::workload::Workload;
use anyhow::{Context, Result};
use serde::Serialize;
use std::collections::BTreeMap;

/// Bytes of one tensor in a safetensors header.
const HEADER: usize = 150;
/// Bytes of config.toml, run.json, template and special tokens.
const IDENTITY: u64 = 8_000;
/// Bytes of state.json and SHA256SUMS of a checkpoint.
const STATE: u64 = 3_000;

/// What a run writes, in bytes.
#[derive(Clone, Debug, Serialize)]
pub struct Disk {
    pub checkpoint_bytes: u64,
    /// The checkpoints that are kept at the end
    pub checkpoints_kept_bytes: u64,
    /// The directories that the next stage takes
    pub results_bytes: BTreeMap<&'static str, u64>,
    /// Everything that is neither checkpoint nor result
    pub other_bytes: u64,
    /// The run directory at the end
    pub run_bytes: u64,
    /// While a new checkpoint is written beside those kept
    pub most_bytes: u64,
    pub free_bytes: Option<u64>,
}

impl Disk {
    pub fn of(work: &Workload) -> Self {
        let stored = |(numbers, tensors)| (4 * numbers + HEADER * tensors) as u64;
        let graphs = work.graphs.iter().map(|graph| stored(graph.numbers(work)));
        let result = graphs.clone().next().unwrap_or(0);
        // the trained numbers and AdamW's two moments
        let checkpoint_bytes = 3 * graphs.sum::<u64>() + work.policy_copies * result + STATE;
        let mut kept = work.retention;
        kept.n = kept.n.min(work.n_checkpoints);
        let checkpoints_kept_bytes = kept.bytes(checkpoint_bytes);
        let tokenizer = work.tokenizer_bytes as u64;
        let saved = |tokenized: &bool| result + tokenizer * u64::from(*tokenized);
        let results = work.results.iter();
        let results_bytes: BTreeMap<_, _> = results.map(|(name, t)| (*name, saved(t))).collect();
        let other_bytes = tokenizer + work.log_bytes as u64 + IDENTITY;
        // Checkpoints hold the results of their step, the newest as links to the present ones.
        let n = (checkpoints_kept_bytes / checkpoint_bytes).max(1);
        let results = n * results_bytes.values().sum::<u64>();
        let run_bytes = checkpoints_kept_bytes + results + other_bytes;
        Self {
            checkpoint_bytes,
            checkpoints_kept_bytes,
            results_bytes,
            other_bytes,
            run_bytes,
            most_bytes: run_bytes + checkpoint_bytes,
            free_bytes: run::free_space_bytes(&work.dir).ok(),
        }
    }
}

impl Workload {
    /// Refuses a run that has no room. One that has a checkpoint already takes most of its room,
    /// and asks again before it writes another.
    pub fn require_space(&self) -> Result<()> {
        if run::has_checkpoint(&self.dir)? {
            return Ok(());
        }
        run::require_space(&self.dir, Disk::of(self).most_bytes)
            .context("the disk has no room for the run; free some, or lower train.keep_checkpoints")
    }
}
