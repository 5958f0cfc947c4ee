//! Run directories of earlier stages, opened read-only.

use crate::run_info::{INFO, damaged_files, read_config, read_info};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A run directory that an earlier stage wrote.
pub struct SavedRun {
    pub dir: PathBuf,
    /// `sft`, `reward-model` or `esrl-rlhf`
    pub stage: String,
    /// run.json
    pub info: Value,
    /// config.toml
    pub config: toml::Table,
}

impl SavedRun {
    /// `running` (also of a killed run), `finished`, `stopped` or `failed`.
    pub fn status(&self) -> &str {
        self.info["status"].as_str().unwrap_or_default()
    }

    /// Warns on stderr if the saved result is not the final one.
    pub fn warn_if_unfinished(&self) {
        if self.status() != "finished" {
            let (dir, status) = (self.dir.display(), self.status());
            crate::say!("{dir} is not finished ({status}); using the result saved so far");
        }
    }
}

/// Opens the run directory of an earlier stage; `None` if `dir` is not a run directory.
///
/// # Errors
/// If run.json, config.toml or another file that the run wrote whole is damaged.
pub fn open_saved_run(dir: &Path) -> Result<Option<SavedRun>> {
    if !dir.join(INFO).is_file() {
        return Ok(None);
    }
    let info = read_info(dir)?;
    let stage = info.get("stage").and_then(Value::as_str);
    let stage = stage
        .with_context(|| format!("{}: no \"stage\"", dir.join(INFO).display()))?
        .to_string();
    if let Some(name) = damaged_files(dir, &info)?.first() {
        bail!(
            "{} is damaged: it does not match its hash in {INFO}; restore it from a copy of the run",
            dir.join(name).display()
        );
    }
    let config = read_config(dir)?;
    Ok(Some(SavedRun {
        dir: dir.to_path_buf(),
        stage,
        info: Value::Object(info),
        config,
    }))
}
