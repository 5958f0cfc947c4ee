//! What a run directory takes. The run is refused by the numbers of its plan.

use anyhow::{Context, Result};
use run::RetentionPolicy;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Bytes of a name, shape and place in a safetensors header.
const HEADER: usize = 150;
/// config.toml, run.json, template and special tokens.
const IDENTITY: usize = 8_000;
/// state.json and SHA256SUMS of a checkpoint.
const STATE: usize = 3_000;

/// Trained numbers in files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    pub numbers: usize,
    pub tensors: usize,
}

impl Stored {
    /// As f32.
    pub fn bytes(self) -> u64 {
        (4 * self.numbers + HEADER * self.tensors) as u64
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Disk {
    /// One checkpoint: parameters with two moments, and copies
    pub checkpoint: u64,
    /// Of all that are kept at the end
    pub kept: u64,
    /// What the next stage takes, by name
    pub results: Vec<(&'static str, u64)>,
    /// Tokenizer, logs and samples
    pub other: u64,
    /// The file system's free bytes
    pub free: u64,
    dir: PathBuf,
}

impl Disk {
    /// `checkpoints`: how many will be written. `tokenizer`: bytes of tokenizer.json. `logs`: bytes of metrics and samples.
    pub fn of(
        dir: &Path,
        trained: Stored,
        copies: Stored,
        (keep, checkpoints): (RetentionPolicy, usize),
        results: Vec<(&'static str, u64)>,
        (tokenizer, logs): (usize, usize),
    ) -> Result<Self> {
        let checkpoint = 3 * trained.bytes() + copies.bytes() + STATE as u64;
        let keep = RetentionPolicy {
            n: keep.n.min(checkpoints),
            ..keep
        };
        Ok(Self {
            checkpoint,
            kept: if checkpoints == 0 {
                0
            } else {
                keep.bytes(checkpoint)
            },
            results,
            other: (tokenizer + logs + IDENTITY) as u64,
            free: run::free_space_bytes(dir)?,
            dir: dir.to_path_buf(),
        })
    }

    /// Of the run directory when the run has ended.
    pub fn run(&self) -> u64 {
        self.kept + self.results.iter().map(|(_, n)| n).sum::<u64>() + self.other
    }

    /// While a checkpoint is written beside those kept.
    pub fn most(&self) -> u64 {
        self.run() + self.checkpoint
    }

    /// Refuses where there is no room. A run that has a checkpoint has most of its room, and asks before it writes another.
    pub fn require(&self) -> Result<()> {
        if run::has_checkpoint(&self.dir)? {
            return Ok(());
        }
        run::require_space(&self.dir, self.most())
            .context("there is no room for the run; make some, or lower train.keep_checkpoints")
    }

    pub(super) fn json(&self) -> Value {
        let results = self.results.iter();
        let results: Map<String, Value> = results
            .map(|(name, bytes)| (name.to_string(), (*bytes).into()))
            .collect();
        json!({
            "checkpoint_bytes": self.checkpoint,
            "checkpoints_kept_bytes": self.kept,
            "results_bytes": results,
            "other_bytes": self.other,
            "run_bytes": self.run(),
            "most_bytes": self.most(),
            "free_bytes": self.free,
        })
    }
}
