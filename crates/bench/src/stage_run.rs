//! Runs one of our stages as a process and reads the timings that it logged.

use crate::peer;
use crate::setup::Setup;
use crate::timing::Timing;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs `binary` with `configs/bench/<config>.toml` and some keys set, into a new directory of that
/// name.
pub(crate) fn run(setup: &Setup, binary: &str, config: &str, sets: &[String]) -> Result<PathBuf> {
    let dir = setup.runs().join(config);
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    let mut command = Command::new(setup.binaries.join(binary));
    command
        .arg("--config")
        .arg(Path::new("configs/bench").join(format!("{config}.toml")))
        .arg("--run")
        .arg(&dir)
        .env("RAYON_NUM_THREADS", setup.threads.to_string());
    for set in sets {
        command.args(["--set", set]);
    }
    peer::finish(command)?;
    Ok(dir)
}

/// [`run()`], and the timings that it logged.
pub(crate) fn time(setup: &Setup, binary: &str, config: &str, sets: &[String]) -> Result<Timing> {
    let dir = run(setup, binary, config, sets)?;
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
    let layers = info["memory"]["checkpointed_blocks"].as_u64();
    timing.checkpointing = layers.map(|layers| layers > 0);
    Ok(timing)
}
