//! The command line arguments that all training commands share.

use crate::open::{ensure_writable, is_creatable};
use anyhow::{Result, bail};
use serde::de::DeserializeOwned;
use std::path::PathBuf;

/// `--config`, `--set`, `--run`, `--resume`: the arguments of every training command.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct RunArgs {
    /// TOML file with the settings (paths in it are relative to the current directory)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Override one setting, e.g. --set train.max_steps=50 (repeatable)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Run directory to create; without it, runs/ and the name of the command
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// Continue the run from its last complete checkpoint. Without --config it keeps the settings
    /// it was started with
    #[arg(long)]
    pub resume: bool,
    /// Prove that these settings resume exactly: run once to the end, then kill and resume other
    /// runs KILLS times in all (default 3), and compare every byte. Shorten long runs with --set
    #[arg(
        long,
        value_name = "KILLS",
        num_args = 0..=1,
        default_missing_value = "3",
        conflicts_with = "resume"
    )]
    pub verify_resume: Option<usize>,
}

impl RunArgs {
    /// The run's directory; `default` without `--run`.
    ///
    /// # Errors
    /// Without `--resume`: if a run cannot be created there, since it exists and is not empty, or
    /// nothing can be written there.
    pub fn directory(&self, default: &str) -> Result<PathBuf> {
        let dir = self.run.clone().unwrap_or_else(|| default.into());
        if self.resume {
            return Ok(dir);
        }
        if !is_creatable(&dir) {
            bail!(
                "{} exists; continue it with --resume or choose another --run",
                dir.display()
            );
        }
        ensure_writable(&dir)?;
        Ok(dir)
    }
}

/// The arguments of `plan`.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(after_help = "Example: plan a LLaMA-7B run for a GPU with 24 GB
  wick plan --config configs/llama-7b/sft.toml --set model.source=models/llama-7b --memory-gb 24

A model directory needs config.json and the tokenizer, no weights.
Exits with 2 and one line if the run cannot fit; the line suggests the cheapest change.")]
pub struct PlanArgs {
    /// TOML file with the settings
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Override one setting (repeatable)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Run directory that would be created; its file system must have room
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// Memory limit in GB (10⁹ bytes): train.memory_gb
    #[arg(long, value_name = "GB")]
    pub memory_gb: Option<f64>,
    /// Print everything as JSON, with the learning rate of every step
    #[arg(long)]
    pub json: bool,
}

impl PlanArgs {
    /// The settings, `--memory-gb` among them, checked.
    pub fn load_config<T: DeserializeOwned>(
        &self,
        check: impl FnOnce(&T) -> Result<()>,
    ) -> Result<T> {
        let limit = self.memory_gb.map(|gb| format!("train.memory_gb={gb:?}"));
        let sets: Vec<String> = self.sets.iter().cloned().chain(limit).collect();
        crate::config::load_checked(self.config.as_deref(), &sets, check)
    }
}
