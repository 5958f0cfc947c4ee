//! The disk that a run directory takes.

use anyhow::{Context, Result};
use models::{Config, LoraConfig};
use run::RetentionPolicy;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Bytes of one tensor in a safetensors header.
const HEADER: usize = 150;
/// Bytes of config.toml, run.json, template and special tokens.
const IDENTITY: u64 = 8_000;
/// Bytes of state.json and SHA256SUMS of a checkpoint.
const STATE: u64 = 3_000;

/// Bytes of f32 tensors in a safetensors file.
pub fn stored_bytes(numbers: usize, tensors: usize) -> u64 {
    (4 * numbers + HEADER * tensors) as u64
}

/// Bytes of an adapter, with a scalar head of `head` numbers (0: no head).
pub fn adapter_bytes(lora: &LoraConfig, config: &Config, head: usize) -> u64 {
    let head_tensors = if head > 0 { 2 } else { 0 };
    let tensors = lora.n_tensors(config) + head_tensors;
    stored_bytes(lora.n_params(config) + head, tensors)
}

/// What a run writes. Sizes are in bytes.
#[derive(Clone, Debug)]
pub struct Disk {
    /// The run directory, which need not exist yet
    pub dir: PathBuf,
    /// Trained numbers, which a checkpoint holds with AdamW's two moments
    pub trained: u64,
    /// Copies of the policy in a checkpoint
    pub copies: u64,
    pub retention: RetentionPolicy,
    /// Checkpoints that will be written
    pub n_checkpoints: usize,
    /// The directories that the next stage takes
    pub results: BTreeMap<&'static str, u64>,
    /// Tokenizer, metrics and samples
    pub other: usize,
}

impl Disk {
    pub fn checkpoint(&self) -> u64 {
        3 * self.trained + self.copies + STATE
    }

    /// The checkpoints that are kept at the end.
    pub fn checkpoints(&self) -> u64 {
        let mut kept = self.retention;
        kept.n = kept.n.min(self.n_checkpoints);
        kept.bytes(self.checkpoint())
    }

    /// Everything that is neither checkpoint nor result.
    pub fn other(&self) -> u64 {
        self.other as u64 + IDENTITY
    }

    /// The run directory at the end.
    pub fn run(&self) -> u64 {
        // Checkpoints hold the results of their step, the newest as links to the present ones.
        let n = (self.checkpoints() / self.checkpoint()).max(1);
        self.checkpoints() + n * self.results.values().sum::<u64>() + self.other()
    }

    /// While a new checkpoint is written beside those kept.
    pub fn most(&self) -> u64 {
        self.run() + self.checkpoint()
    }

    /// Refuses a run that has no room. One that has a checkpoint already takes most of its room,
    /// and asks again before it writes another.
    pub fn require(&self) -> Result<()> {
        if run::has_checkpoint(&self.dir)? {
            return Ok(());
        }
        run::require_space(&self.dir, self.most())
            .context("the disk has no room for the run; free some, or lower train.keep_checkpoints")
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "checkpoint_bytes": self.checkpoint(),
            "checkpoints_kept_bytes": self.checkpoints(),
            "results_bytes": self.results,
            "other_bytes": self.other(),
            "run_bytes": self.run(),
            "most_bytes": self.most(),
            "free_bytes": run::free_space_bytes(&self.dir).ok(),
        })
    }
}
