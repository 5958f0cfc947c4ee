//! Runs one of our stages as a process and reads the timings that it logged.

use crate::peer;
use crate::setup::Setup;
use crate::timing::Timing;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A process of a stage: `binary` with `configs/bench/<config>.toml`, the setup's model, and some
/// keys set.
pub(crate) struct StageRun<'a> {
    pub binary: &'a str,
    pub config: &'a str,
    pub sets: Vec<String>,
    /// Where it tokenises rows to, or finds them
    pub cache: Option<&'a Path>,
}

impl StageRun<'_> {
    fn command(&self, setup: &Setup) -> Command {
        let mut command = setup.ours(self.binary);
        if let Some(cache) = self.cache {
            command.env("WICK_CACHE", cache);
        }
        command
    }

    fn with_settings(&self, setup: &Setup, command: &mut Command) {
        let config = format!("{}.toml", self.config);
        command
            .arg("--config")
            .arg(Path::new("configs/bench").join(config));
        let model = match self.binary {
            "esrl-rlhf" => "policy",
            _ => "source",
        };
        let model = format!("model.{model}={}", setup.model().display());
        command.args(["--set", &model]);
        for set in &self.sets {
            command.args(["--set", set]);
        }
    }

    /// Only tokenises the rows, into `cache`.
    pub fn plan(&self, setup: &Setup, cache: &Path) -> Result<()> {
        let mut command = self.command(setup);
        command.arg("plan").env("WICK_CACHE", cache);
        self.with_settings(setup, &mut command);
        peer::finish(command).map(drop)
    }

    /// Runs it into a new directory of the config's name.
    pub fn run(&self, setup: &Setup) -> Result<PathBuf> {
        let dir = setup.runs().join(self.config);
        if dir.exists() {
            std::fs::remove_dir_all(&dir)?;
        }
        let mut command = self.command(setup);
        self.with_settings(setup, &mut command);
        command.arg("--run").arg(&dir);
        peer::finish(command)?;
        Ok(dir)
    }

    /// [`run`](Self::run), and the timings that it logged.
    pub fn time(&self, setup: &Setup) -> Result<Timing> {
        let dir = self.run(setup)?;
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
            timing.losses.extend(of.get("train/loss"));
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
}
