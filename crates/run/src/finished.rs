//! Run directories of earlier stages, read only.

use anyhow::{Context, Result};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

pub(crate) const INFO: &str = "run.json";
pub(crate) const CONFIG: &str = "config.toml";

/// What an earlier stage left: its run.json, config.toml as a table, and paths.
pub struct Finished {
    pub dir: PathBuf,
    pub stage: String,
    pub info: Value,
    pub config: toml::Table,
}

impl Finished {
    /// `running` (or killed), `finished`, `stopped` or `failed`.
    pub fn status(&self) -> &str {
        self.info["status"].as_str().unwrap_or_default()
    }

    /// Says on stderr that what the run left so far is not its final result.
    pub fn note_unfinished(&self) {
        if self.status() != "finished" {
            let (dir, status) = (self.dir.display(), self.status());
            eprintln!("{dir} is not finished ({status}): what it saved so far is used");
        }
    }
}

/// Opens a run directory of an earlier stage; `Ok(None)` when `dir` is not a run directory.
pub fn open_finished(dir: &Path) -> Result<Option<Finished>> {
    if !dir.join(INFO).is_file() {
        return Ok(None);
    }
    let info = read_info(dir)?;
    let stage = info.get("stage").and_then(Value::as_str);
    let stage = stage
        .with_context(|| format!("{}: no \"stage\"", dir.join(INFO).display()))?
        .to_string();
    let config = read_config(dir)?;
    Ok(Some(Finished {
        dir: dir.to_path_buf(),
        stage,
        info: Value::Object(info),
        config,
    }))
}

pub(crate) fn read_info(dir: &Path) -> Result<Map<String, Value>> {
    let path = dir.join(INFO);
    let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))
}

pub(crate) fn read_config(dir: &Path) -> Result<toml::Table> {
    let path = dir.join(CONFIG);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    text.parse()
        .with_context(|| format!("{} is damaged", path.display()))
}
