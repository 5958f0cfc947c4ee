//! A run directory that is being written. Only [`Run`] writes into it, and only one process at a
//! time.

use crate::checkpoint::Checkpoint;
use crate::checkpoint_list::{self, CHECKPOINTS, RetentionPolicy};
use crate::files::{atomic_dir, atomic_write};
use crate::memory::peak_memory_bytes;
use crate::metrics::{MetricsLog, number};
use crate::run_info::write_info;
use crate::time_format::rfc3339;
use anyhow::{Context, Result, ensure};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

pub(crate) const SAMPLES: &str = "samples";
pub(crate) const FAILED: &str = "failed";

/// An open run directory. Dropped without [`finish`](Self::finish) or [`stopped`](Self::stopped),
/// it is marked failed.
pub struct Run {
    pub(crate) dir: PathBuf,
    /// run.json
    pub(crate) info: Map<String, Value>,
    pub(crate) log: MetricsLog,
    /// Seconds and peak bytes of earlier processes, before a resume.
    pub(crate) secs_before: f64,
    pub(crate) peak_before: u64,
    /// A finished run was reopened, and nothing was written into it yet.
    pub(crate) still_finished: bool,
    pub(crate) began: Instant,
    pub(crate) _lock: File,
}

impl Run {
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Seconds of work so far, summed over resumes. Work lost in a crash is not counted.
    pub fn secs(&self) -> f64 {
        self.secs_before + self.began.elapsed().as_secs_f64()
    }

    /// One row of metrics.jsonl (`step`, `secs` since the run began, then the metrics) and
    /// TensorBoard scalars.
    pub fn log(&mut self, step: u64, metrics: &BTreeMap<String, f64>) -> Result<()> {
        self.still_finished = false;
        let logged = self.log.log(step, self.secs(), metrics);
        logged.with_context(|| self.dir.display().to_string())
    }

    /// Writes samples/step-000100.md.
    pub fn sample(&self, step: u64, markdown: &str) -> Result<()> {
        let samples = self.dir.join(SAMPLES);
        std::fs::create_dir_all(&samples)
            .with_context(|| format!("cannot create {}", samples.display()))?;
        atomic_write(
            &samples.join(format!("step-{step:06}.md")),
            markdown.as_bytes(),
        )
    }

    /// Writes failed/step-000012.json, the batch of a step that failed. Returns its path.
    pub fn failed(&self, step: u64, batch: &Value) -> Result<PathBuf> {
        let failed = self.dir.join(FAILED);
        std::fs::create_dir_all(&failed)
            .with_context(|| format!("cannot create {}", failed.display()))?;
        let file = failed.join(format!("step-{step:06}.json"));
        atomic_write(&file, serde_json::to_string(batch)?.as_bytes())?;
        Ok(file)
    }

    /// Writes checkpoints/step-000100/ and deletes the checkpoints that `keep` does not retain.
    ///
    /// `write` puts the tensors into a temporary directory; state.json and checksums follow, and
    /// the directory is renamed into place.
    pub fn checkpoint(
        &mut self,
        step: u64,
        keep: RetentionPolicy,
        state: &impl Serialize,
        write: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        self.still_finished = false;
        let checkpoints = self.dir.join(CHECKPOINTS);
        std::fs::create_dir_all(&checkpoints)
            .with_context(|| format!("cannot create {}", checkpoints.display()))?;
        self.log.sync()?;
        checkpoint_list::require_space(&checkpoints)
            .and_then(|()| Checkpoint::write(&checkpoints, step, self.secs(), state, write))
            .with_context(|| {
                format!(
                    "step {step} was not saved; earlier checkpoints are intact, continue from them \
                     with --resume"
                )
            })?;
        checkpoint_list::prune(&checkpoints, keep)?;
        self.put_cost()
    }

    /// The newest complete checkpoint.
    pub fn latest_checkpoint(&self) -> Result<Option<Checkpoint>> {
        Ok(checkpoint_list::list(&self.dir.join(CHECKPOINTS))?.pop())
    }

    /// For an error message: the checkpoint from which a failed run can continue.
    pub fn last_good(&self) -> String {
        match self.latest_checkpoint() {
            Ok(Some(kept)) => format!("the last good checkpoint is {}", kept.dir.display()),
            _ => "no checkpoint was written yet".to_string(),
        }
    }

    /// What the stage stored as the state of a checkpoint.
    pub fn read_state<T: DeserializeOwned>(&self, checkpoint: &Checkpoint) -> Result<T> {
        checkpoint.state()
    }

    /// Replaces a whole subdirectory (`adapter`, `reward`, `model`) atomically: `write` fills a
    /// temporary directory, which is renamed into place.
    pub fn replace_dir(&self, name: &str, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        check_name(name)?;
        atomic_dir(&self.dir.join(name), write)
    }

    /// Writes a file of the run's root atomically (template.json, tokenizer.json, …).
    pub fn write_file(&self, name: &str, bytes: &[u8]) -> Result<()> {
        check_name(name)?;
        atomic_write(&self.dir.join(name), bytes)
    }

    /// Adds facts to run.json (data hashes, base model, parents, parameter counts).
    pub fn record(&mut self, key: &str, value: Value) -> Result<()> {
        self.info.insert(key.into(), value);
        write_info(&self.dir, &self.info)
    }

    /// What [`record`](Self::record) stored under `key`, in this process or an earlier one.
    pub fn recorded(&self, key: &str) -> Option<&Value> {
        self.info.get(key)
    }

    /// Marks the run finished and writes wall seconds (summed over resumes) and peak memory into
    /// run.json.
    pub fn finish(&mut self, summary: &BTreeMap<String, f64>) -> Result<()> {
        let summary = summary
            .iter()
            .map(|(name, value)| (name.clone(), number(*value)))
            .collect();
        self.info.insert("summary".into(), Value::Object(summary));
        self.end("finished")
    }

    /// Marks the run stopped by its user at `step`, after a checkpoint, and tells on stderr how to
    /// continue.
    pub fn stopped(&mut self, step: u64) -> Result<()> {
        self.end("stopped")?;
        eprintln!(
            "stopped at step {step}; continue with the same command and --resume ({})",
            self.dir.display()
        );
        Ok(())
    }

    fn end(&mut self, status: &str) -> Result<()> {
        self.info.insert("status".into(), status.into());
        self.info
            .insert("ended".into(), rfc3339(SystemTime::now()).into());
        self.put_cost()
    }

    fn put_cost(&mut self) -> Result<()> {
        let secs = (self.secs() * 1000.0).round() / 1000.0;
        let peak = self.peak_before.max(peak_memory_bytes());
        self.info.insert("wall_secs".into(), secs.into());
        self.info.insert("peak_memory_bytes".into(), peak.into());
        write_info(&self.dir, &self.info)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.info.get("status").and_then(Value::as_str) != Some("running") {
            return;
        }
        // An error here is ignored: the one that ended the run is reported.
        let _ = if self.still_finished {
            self.info.insert("status".into(), "finished".into());
            write_info(&self.dir, &self.info)
        } else {
            self.end("failed")
        };
    }
}

/// A name inside the run directory, not a path out of it.
fn check_name(name: &str) -> Result<()> {
    ensure!(
        !name.is_empty() && !name.starts_with('.') && !name.contains('/'),
        "{name:?} is not the name of a file in a run directory"
    );
    Ok(())
}
