//! A run of one of our stages as a process, and what it logged of its steps.

use crate::peer;
use crate::work::Place;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What one process says of its steps, the first one included.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Timing {
    pub secs: Vec<f64>,
    pub peak_gb: f64,
    /// Tokens of each step; prompts excluded where tokens are drawn
    #[serde(default)]
    pub tokens: Vec<f64>,
    /// Whether activations are checkpointed; a decoder has none
    #[serde(default)]
    pub checkpointing: Option<bool>,
    /// Seconds by phase of each step
    #[serde(skip)]
    pub phases: Vec<BTreeMap<String, f64>>,
    /// What else each step logged
    #[serde(skip)]
    pub metrics: Vec<BTreeMap<String, f64>>,
}

/// Runs `binary` by `configs/bench/<config>.toml` with some keys set, into a directory of that name that is made anew.
pub(crate) fn run(place: &Place, binary: &str, config: &str, sets: &[String]) -> Result<PathBuf> {
    let dir = place.runs().join(config);
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    let mut command = Command::new(place.binaries.join(binary));
    command
        .arg("--config")
        .arg(Path::new("configs/bench").join(format!("{config}.toml")))
        .arg("--run")
        .arg(&dir)
        .env("RAYON_NUM_THREADS", place.threads.to_string());
    for set in sets {
        command.args(["--set", set]);
    }
    peer::finish(command)?;
    Ok(dir)
}

/// The same, and what it logged.
pub(crate) fn time(place: &Place, binary: &str, config: &str, sets: &[String]) -> Result<Timing> {
    let dir = run(place, binary, config, sets)?;
    let mut timing = Timing::default();
    for row in run::read_metrics(&dir)? {
        let of = row.metrics;
        let Some(secs) = of.get("time/step").copied() else {
            continue; // an evaluation
        };
        let per_sec = ["train/tokens_per_sec", "throughput/tokens_per_sec"];
        let per_sec = per_sec.iter().find_map(|key| of.get(*key));
        timing.secs.push(secs);
        timing
            .tokens
            .push(per_sec.copied().unwrap_or_default() * secs);
        let (mut phases, rest): (BTreeMap<_, _>, BTreeMap<_, _>) = of
            .into_iter()
            .partition(|(key, _)| key.starts_with("time/"));
        phases.remove("time/step");
        timing.phases.push(phases);
        timing.metrics.push(rest);
    }
    let file = dir.join("run.json");
    let info = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let info: serde_json::Value = serde_json::from_str(&info)?;
    let peak = info["peak_memory_bytes"].as_f64();
    timing.peak_gb = peak.context("run.json has no peak_memory_bytes")? / 1e9;
    let blocks = info["memory"]["checkpointed_blocks"].as_u64();
    timing.checkpointing = blocks.map(|blocks| blocks > 0);
    Ok(timing)
}
