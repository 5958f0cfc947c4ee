//! run.json and config.toml of a run directory.

use crate::files::atomic_write;
use anyhow::{Context, Result};
use serde_json::{Map, Value};
use std::path::Path;

pub(crate) const INFO: &str = "run.json";
pub(crate) const CONFIG: &str = "config.toml";

pub(crate) fn read_info(dir: &Path) -> Result<Map<String, Value>> {
    let path = dir.join(INFO);
    let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))
}

pub(crate) fn write_info(dir: &Path, info: &Map<String, Value>) -> Result<()> {
    let mut text = serde_json::to_string_pretty(info)?;
    text.push('\n');
    atomic_write(&dir.join(INFO), text.as_bytes())
}

pub(crate) fn read_config(dir: &Path) -> Result<toml::Table> {
    let path = dir.join(CONFIG);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    text.parse()
        .with_context(|| format!("{} is damaged", path.display()))
}
