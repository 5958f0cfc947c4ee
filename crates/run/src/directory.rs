//! A run directory that is being written. Only [`Run`] writes into it, and only one process at a
//! time.

use crate::checkpoint::Checkpoint;
use crate::checkpoint_list::{self, CHECKPOINTS, Damaged, RetentionPolicy};
use crate::files::{atomic_write, hash};
use crate::memory::peak_memory_bytes;
use crate::metrics::{MetricsLog, number};
use crate::redact::{redact, redact_json};
use crate::results;
use crate::run_info::{announce, settle, write_info};
use crate::signals::note_stopped_early;
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
/// it is marked failed. One that was reopened writes nothing until [`begin`](Self::begin).
pub struct Run {
    pub(crate) dir: PathBuf,
    /// run.json
    pub(crate) info: Map<String, Value>,
    /// None until a reopened run begins
    pub(crate) log: Option<MetricsLog>,
    /// What a reopened run does when it begins
    pub(crate) reopened: Option<Reopened>,
    pub(crate) settings_before: Option<toml::Table>,
    /// Seconds and peak bytes of earlier processes, before a resume.
    pub(crate) secs_before: f64,
    pub(crate) peak_before: u64,
    /// A finished run was reopened, and nothing was written into it yet.
    pub(crate) still_finished: bool,
    pub(crate) began: Instant,
    pub(crate) _lock: File,
}

/// What [`Run::begin`] does to a reopened run.
pub(crate) struct Reopened {
    /// The checkpoint to go on from; None: the start
    pub(crate) latest: Option<Checkpoint>,
    /// Checkpoints after it, to be quarantined
    pub(crate) damaged: Vec<Damaged>,
    /// Files of the run's root to write, config.toml first
    pub(crate) files: Vec<(String, Vec<u8>)>,
    /// The changed settings, for the user
    pub(crate) lines: Vec<String>,
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
        let secs = self.secs();
        let logged = self.open_log()?.log(step, secs, metrics);
        logged.with_context(|| self.dir.display().to_string())
    }

    /// Writes samples/step-000100.md.
    pub fn sample(&self, step: u64, markdown: &str) -> Result<()> {
        self.check_begun()?;
        let samples = self.dir.join(SAMPLES);
        std::fs::create_dir_all(&samples)
            .with_context(|| format!("cannot create {}", samples.display()))?;
        atomic_write(
            &samples.join(format!("step-{step:06}.md")),
            redact(markdown).as_bytes(),
        )
    }

    /// Writes failed/step-000012.json, the batch of a step that failed. Returns its path.
    pub fn failed(&self, step: u64, batch: &Value) -> Result<PathBuf> {
        self.check_begun()?;
        let failed = self.dir.join(FAILED);
        std::fs::create_dir_all(&failed)
            .with_context(|| format!("cannot create {}", failed.display()))?;
        let file = failed.join(format!("step-{step:06}.json"));
        let mut batch = batch.clone();
        redact_json(&mut batch);
        atomic_write(&file, serde_json::to_string(&batch)?.as_bytes())?;
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
        self.open_log()?.sync()?;
        checkpoint_list::require_space(&checkpoints)
            .and_then(|()| {
                Checkpoint::write(&self.dir, &checkpoints, step, self.secs(), state, write)
            })
            .with_context(|| {
                format!(
                    "step {step} was not saved; earlier checkpoints are intact, continue from them \
                     with --resume"
                )
            })?;
        self.prune(keep)?;
        self.put_cost()
    }

    /// Deletes the checkpoints that `keep` does not retain. A resumed run calls it before its first
    /// step, since a kill may have come between a checkpoint and the deletion of an older one.
    pub fn prune(&self, keep: RetentionPolicy) -> Result<()> {
        self.check_begun()?;
        checkpoint_list::prune(&self.dir.join(CHECKPOINTS), keep)
    }

    /// The newest complete checkpoint.
    pub fn latest_checkpoint(&self) -> Result<Option<Checkpoint>> {
        if let Some(reopened) = &self.reopened {
            return Ok(reopened.latest.clone());
        }
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
    /// temporary directory, which is renamed into place. It gets a SHA256SUMS.
    pub fn replace_dir(&self, name: &str, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        check_name(name)?;
        self.check_begun()?;
        results::replace(&self.dir.join(name), write)
    }

    /// Writes a file of the run's root atomically (template.json, tokenizer.json, …). Its hash is
    /// in run.json, and whoever opens the run checks it.
    pub fn write_file(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        check_name(name)?;
        if let Some(reopened) = &mut self.reopened {
            reopened.files.push((name.to_string(), bytes.to_vec()));
            return Ok(());
        }
        announce(&mut self.info, name, bytes);
        write_info(&self.dir, &self.info)?;
        atomic_write(&self.dir.join(name), bytes)?;
        settle(&mut self.info, name);
        Ok(())
    }

    /// Writes a file of the run's root atomically with its checksum beside it, `<stem>.sha256` in
    /// the format of `sha256sum -c`. Its reader checks it.
    pub fn write_with_sum(&self, name: &str, bytes: &[u8]) -> Result<()> {
        check_name(name)?;
        self.check_begun()?;
        let file = self.dir.join(name);
        // First: alone it is harmless.
        let sum = format!("{}  {name}\n", hash(bytes));
        atomic_write(&file.with_extension("sha256"), sum.as_bytes())?;
        atomic_write(&file, bytes)
    }

    /// Records what computes the run (`threads`, `simd`, …) beside this binary: under `used` of
    /// run.json, and for a resumed run in its entry of `resumed`. Reports on stderr what is not as
    /// it was, since the last bits of the results may depend on it.
    pub fn record_used(&mut self, facts: Map<String, Value>) -> Result<()> {
        let mut used = crate::provenance::binary();
        used.extend(facts);
        let resumed = self.info.get("resumed").and_then(Value::as_array);
        let n_resumed = resumed.map_or(0, Vec::len);
        let earlier = resumed.into_iter().flatten().rev().skip(1);
        let before = earlier.filter_map(|entry| entry.get("used")).next();
        let before = before.or_else(|| self.info.get("used")).cloned();
        if n_resumed > 0
            && let Some(before) = before
        {
            report_changes(&before, &used);
        }
        if n_resumed == 0 {
            self.info.insert("used".into(), used.into());
        } else {
            self.info["resumed"][n_resumed - 1]["used"] = used.into();
        }
        self.write_info()
    }

    /// Adds facts to run.json (data hashes, base model, parents, parameter counts).
    pub fn record(&mut self, key: &str, value: Value) -> Result<()> {
        self.info.insert(key.into(), value);
        self.write_info()
    }

    /// What [`record`](Self::record) stored under `key`, in this process or an earlier one.
    pub fn recorded(&self, key: &str) -> Option<&Value> {
        self.info.get(key)
    }

    /// Says `text` on stderr and keeps it under `notes` of run.json, once in a run for each `key`.
    pub fn note(&mut self, key: &str, text: &str) -> Result<()> {
        let mut notes = match self.recorded("notes") {
            Some(Value::Object(notes)) => notes.clone(),
            _ => Map::new(),
        };
        if notes.contains_key(key) {
            return Ok(());
        }
        crate::say!("{text}");
        notes.insert(key.into(), text.into());
        self.record("notes", notes.into())
    }

    /// Takes back what [`note`](Self::note) said under these keys, before it is judged anew.
    pub fn forget_notes(&mut self, keys: &[&str]) -> Result<()> {
        match self.recorded("notes").cloned() {
            Some(Value::Object(mut notes)) => {
                notes.retain(|key, _| !keys.contains(&key.as_str()));
                self.record("notes", notes.into())
            }
            _ => Ok(()),
        }
    }

    /// For a resumed run with no step left: says so if it was finished. `step`: its last one;
    /// `key`: the setting that makes it the last.
    pub fn say_if_finished_already(&self, step: u64, key: &str) {
        if self.still_finished {
            crate::say!(
                "{} is finished already: step {step} is the last one by {key}; raise {key} to go on",
                self.dir.display()
            );
        }
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
        note_stopped_early();
        let stage = self.info.get("stage").and_then(Value::as_str);
        let name = match stage.unwrap_or_default() {
            "reward-model" => "rm",
            "esrl-rlhf" => "rlhf",
            stage => stage,
        };
        let (command, dir) = (crate::command(name), self.dir.display());
        crate::say!("stopped at step {step}; continue with: {command} --resume --run {dir}");
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
        self.write_info()
    }

    /// Writes run.json, or leaves it to [`begin`](Self::begin).
    fn write_info(&self) -> Result<()> {
        match self.reopened {
            Some(_) => Ok(()),
            None => write_info(&self.dir, &self.info),
        }
    }

    /// Catches a write into a reopened run that has not begun: it could still be refused.
    fn check_begun(&self) -> Result<()> {
        let begun = self.reopened.is_none();
        ensure!(begun, "{} was written before it began", self.dir.display());
        Ok(())
    }

    fn open_log(&mut self) -> Result<&mut MetricsLog> {
        self.check_begun()?;
        self.log.as_mut().context("the run's logs are not open")
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let running = self.info.get("status").and_then(Value::as_str) == Some("running");
        if !running || self.reopened.is_some() {
            return;
        }
        // An error here is ignored: the one that ended the run is reported.
        let _ = if self.still_finished {
            self.info.insert("status".into(), "finished".into());
            self.write_info()
        } else {
            self.end("failed")
        };
    }
}

/// One line on stderr with the facts that are not as before.
fn report_changes(before: &Value, used: &Map<String, Value>) {
    let mut changes = Vec::new();
    for (name, now) in used {
        match before.get(name) {
            Some(then) if then != now && name == "binary_sha256" => {
                changes.push("another binary".to_string());
            }
            Some(then) if then != now => changes.push(format!("{name} {now} (was {then})")),
            _ => {}
        }
    }
    if !changes.is_empty() {
        crate::say!(
            "continuing with {}: the last bits of the results may differ from those of an \
             uninterrupted run",
            changes.join(", ")
        );
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
