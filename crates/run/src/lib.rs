//! One run on disk: typed config, run directory, atomic checkpoints, metrics, progress, named random streams, provenance.
//! (skeleton; split: config.rs, cli.rs, directory.rs, checkpoint.rs, metrics.rs, tensorboard.rs, progress.rs, stream.rs, provenance.rs, memory.rs, files.rs)

use serde::{Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Reads `--config` and the `--set a.b=c` overrides into a typed config (its structs use `deny_unknown_fields` and
/// defaults). An unknown key is an error that names the nearest known one. Also returns the merged table as given.
pub fn load_config<T: DeserializeOwned>(
    _file: Option<&Path>,
    _sets: &[String],
) -> anyhow::Result<T> {
    todo!()
}

/// `--config`, `--set`, `--run`, `--resume`: the arguments that every training binary flattens into its clap struct.
#[derive(clap::Args, Clone, Debug)]
pub struct RunArgs {
    /// TOML file with the run's settings
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Override one setting, e.g. --set train.max_steps=50 (repeatable)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Run directory to create
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// Continue the run from its last complete checkpoint
    #[arg(long)]
    pub resume: bool,
}

/// Runs a pipeline and turns its result into the process's exit: a clean error prints one line `error: …` and exits 2.
pub fn exit(_result: anyhow::Result<()>) -> std::process::ExitCode {
    todo!()
}

/// An open run directory. Only this type writes into it.
pub struct Run;
/// A checkpoint that is complete (its state.json is there).
pub struct Checkpoint {
    pub step: u64,
    pub dir: PathBuf,
}
impl Run {
    /// Creates `dir` (refuses one that exists), writes config.toml (resolved, every key) and run.json (provenance:
    /// stage, argv, version, git commit if any, started, machine, threads). Nothing is left behind on an error.
    pub fn create(_dir: &Path, _stage: &str, _config: &impl Serialize) -> anyhow::Result<Self> {
        todo!()
    }
    /// Opens an existing run for `--resume`; cuts metrics.jsonl back to `step` rows <= the last checkpoint's step.
    pub fn resume(_dir: &Path, _stage: &str, _config: &impl Serialize) -> anyhow::Result<Self> {
        todo!()
    }
    pub fn dir(&self) -> &Path {
        todo!()
    }
    /// One row of metrics.jsonl (`step`, `secs` since the run began, then the metrics) and TensorBoard scalars.
    pub fn log(&mut self, _step: u64, _metrics: &BTreeMap<String, f64>) -> anyhow::Result<()> {
        todo!()
    }
    /// samples/step-000100.md, readable text.
    pub fn sample(&self, _step: u64, _markdown: &str) -> anyhow::Result<()> {
        todo!()
    }
    /// checkpoints/step-000100/: `write` puts the tensors into a temporary directory, then state.json is written last and
    /// the directory is renamed into place. Keeps the newest `keep`.
    pub fn checkpoint(
        &mut self,
        _step: u64,
        _keep: usize,
        _state: &impl Serialize,
        _write: impl FnOnce(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        todo!()
    }
    pub fn latest_checkpoint(&self) -> anyhow::Result<Option<Checkpoint>> {
        todo!()
    }
    pub fn read_state<T: DeserializeOwned>(&self, _checkpoint: &Checkpoint) -> anyhow::Result<T> {
        todo!()
    }
    /// Replaces a whole subdirectory (`adapter`, `reward`, `model`) atomically: written aside, renamed into place.
    pub fn replace_dir(
        &self,
        _name: &str,
        _write: impl FnOnce(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        todo!()
    }
    /// A file of the run's root, written atomically (template.json, tokenizer.json, …).
    pub fn write_file(&self, _name: &str, _bytes: &[u8]) -> anyhow::Result<()> {
        todo!()
    }
    /// Adds facts to run.json (data hashes, base model, parents, parameter counts).
    pub fn record(&mut self, _key: &str, _value: serde_json::Value) -> anyhow::Result<()> {
        todo!()
    }
    /// Marks the run done: wall seconds (summed over resumes) and peak memory into run.json.
    pub fn finish(&mut self, _summary: &BTreeMap<String, f64>) -> anyhow::Result<()> {
        todo!()
    }
}

/// What an earlier stage left: its run.json, config.toml as a table, and paths.
pub struct Finished {
    pub dir: PathBuf,
    pub stage: String,
    pub info: serde_json::Value,
    pub config: toml::Table,
}
/// Opens a run directory of an earlier stage; `Ok(None)` when `dir` is not a run directory.
pub fn open_finished(_dir: &Path) -> anyhow::Result<Option<Finished>> {
    todo!()
}

/// The only source of randomness: a counter-based generator keyed by (seed, purpose, step, row).
pub fn stream(_seed: u64, _purpose: &str, _step: u64, _row: u64) -> rand_chacha::ChaCha8Rng {
    todo!()
}

/// A progress bar with ETA and tokens/s on a terminal; a plain line every few seconds elsewhere. To stderr.
pub struct Progress;
impl Progress {
    pub fn new(_what: &str, _total: u64) -> Self {
        todo!()
    }
    /// Position, tokens done since the last call, and a short message such as `loss 1.234`.
    pub fn update(&mut self, _position: u64, _tokens: u64, _message: &str) {
        todo!()
    }
    pub fn finish(&mut self, _message: &str) {
        todo!()
    }
}

/// Highest resident memory of this process so far, bytes (VmHWM).
pub fn peak_memory_bytes() -> u64 {
    todo!()
}
/// Writes a file so that it is there whole or not at all.
pub fn atomic_write(_path: &Path, _bytes: &[u8]) -> anyhow::Result<()> {
    todo!()
}
/// SHA-256 of a file, hex.
pub fn file_hash(_path: &Path) -> anyhow::Result<String> {
    todo!()
}
