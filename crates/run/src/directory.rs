//! A run directory that is being written. Only [`Run`] writes into it, and only one process at a time.

use crate::checkpoint::{self, CHECKPOINTS, Checkpoint, RetentionPolicy, check_name};
use crate::files::{atomic_dir, atomic_write, parent, sync_dir, sync_tree, temporary_dir};
use crate::finished::{CONFIG, INFO, read_config, read_info};
use crate::metrics::{MetricsLog, number};
use crate::{peak_memory_bytes, provenance, resume, signals};
use anyhow::{Context, Result, bail, ensure};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};
use toml::Table;

const LOCK: &str = ".lock";
const SAMPLES: &str = "samples";
const FAILED: &str = "failed";
/// What a stage leaves to those after it.
const RESULTS: [&str; 3] = ["adapter", "model", "reward"];

/// An open run directory. Dropped without [`finish`](Self::finish) or [`stopped`](Self::stopped), it is marked failed.
pub struct Run {
    dir: PathBuf,
    info: Map<String, Value>,
    log: MetricsLog,
    /// Work of the processes before this one, seconds and bytes.
    secs_before: f64,
    peak_before: u64,
    /// A finished run that was opened again, and nothing was done in it yet.
    still_finished: bool,
    began: Instant,
    _lock: File,
}

impl Run {
    /// Creates `dir` (refuses one that exists), writes config.toml (resolved, every key) and run.json (provenance:
    /// stage, argv, version, git commit if any, started, machine, threads). Nothing is left behind on an error.
    pub fn create(dir: &Path, stage: &str, config: &impl Serialize) -> Result<Self> {
        if dir.symlink_metadata().is_ok() {
            let what = if dir.join(INFO).exists() {
                "is a run already"
            } else {
                "exists and is not a run"
            };
            bail!(
                "{} {what}; continue a run with --resume, or choose another --run",
                dir.display()
            );
        }
        let config = toml::to_string_pretty(config).context("settings")?;
        let mut info = provenance::collect(stage);
        if let Some(seed) = seed(&config) {
            info.insert("seed".into(), seed.into());
        }
        let made = make_parents(dir)?;
        let created = Self::fill(dir, &config, info);
        if created.is_err() {
            for dir in made.iter().rev() {
                let _ = std::fs::remove_dir(dir); // only when empty
            }
        }
        created.with_context(|| format!("cannot create {}", dir.display()))
    }

    /// Makes the whole directory aside and renames it; an error on the way deletes it.
    fn fill(dir: &Path, config: &str, info: Map<String, Value>) -> Result<Self> {
        let aside = temporary_dir(parent(dir))?;
        let lock = lock(aside.path())?;
        atomic_write(&aside.path().join(CONFIG), config.as_bytes())?;
        write_info(aside.path(), &info)?;
        let log = MetricsLog::create(aside.path())?;
        sync_tree(aside.path())?;
        signals::stop_on_signals()?;
        std::fs::rename(aside.path(), dir)?;
        let _ = aside.keep(); // it is `dir` now
        sync_dir(parent(dir))?;
        Ok(Self {
            dir: dir.to_path_buf(),
            info,
            log,
            secs_before: 0.0,
            peak_before: 0,
            still_finished: false,
            began: Instant::now(),
            _lock: lock,
        })
    }

    /// Opens an existing run for `--resume`; cuts metrics.jsonl back to `step` rows <= the last checkpoint's step.
    ///
    /// The settings must be those it began with, but for cadences, `keep…` and the length of the run. Without a
    /// checkpoint the run begins anew; what it left (a scored pool) is used, so its settings must be these then, too.
    pub fn resume<C>(dir: &Path, stage: &str, config: &C) -> Result<Self>
    where
        C: Serialize + DeserializeOwned,
    {
        Self::resume_by(dir, stage, config, Ok)
    }

    /// The same for a run that an older version may have begun: `today` makes of its settings, read as this version reads them, what
    /// this version would have stored.
    pub fn resume_by<C>(
        dir: &Path,
        stage: &str,
        config: &C,
        today: impl FnOnce(C) -> Result<C>,
    ) -> Result<Self>
    where
        C: Serialize + DeserializeOwned,
    {
        ensure!(
            dir.exists(),
            "{}: no such run; leave out --resume to begin it",
            dir.display()
        );
        ensure!(
            dir.join(INFO).exists(),
            "{} is not a run directory (it has no {INFO})",
            dir.display()
        );
        let lock = lock(dir)?;
        let mut info = read_info(dir)?;
        let of = info
            .get("stage")
            .and_then(Value::as_str)
            .unwrap_or_default();
        ensure!(
            of == stage,
            "{} is a run of {of}, not of {stage}",
            dir.display()
        );

        checkpoint::sweep(dir)?;
        for within in [CHECKPOINTS, SAMPLES, FAILED] {
            checkpoint::sweep(&dir.join(within))?;
        }
        let latest = checkpoint::latest_whole(dir)?;
        let still_finished = info.get("status").and_then(Value::as_str) == Some("finished");
        let result = RESULTS.into_iter().find(|name| dir.join(name).is_dir());
        if let Some(result) = result.filter(|_| still_finished && latest.is_none()) {
            bail!(
                "{} is finished and has no checkpoint to go on from; beginning it anew would overwrite its {result}/: choose another --run",
                dir.display()
            );
        }
        let secs_before = latest.as_ref().map_or(Ok(0.0), Checkpoint::secs)?;
        let config = toml::to_string_pretty(config).context("settings")?;
        let stored = read_config(dir)?;
        let migrated = crate::from_table(&stored, "").and_then(today);
        let migrated = migrated.and_then(|stored| Ok(Table::try_from(&stored)?));
        // settings that this version cannot read differ from all that it can
        resume::compare(dir, &migrated.unwrap_or(stored), &config)?;
        atomic_write(&dir.join(CONFIG), config.as_bytes())?;

        let step = latest.map(|c| c.step);
        let log = MetricsLog::reopen(dir, step)?;
        let peak_before = info
            .get("peak_memory_bytes")
            .and_then(Value::as_u64)
            .unwrap_or(0);
        info.insert("status".into(), "running".into());
        let resumed = info.entry("resumed").or_insert_with(|| json!([]));
        if let Value::Array(list) = resumed {
            let now = crate::rfc3339(SystemTime::now());
            list.push(json!({ "started": now, "step": step, "argv": provenance::argv() }));
        }
        write_info(dir, &info)?;
        signals::stop_on_signals()?;
        let began = Instant::now();
        Ok(Self {
            dir: dir.to_path_buf(),
            info,
            log,
            secs_before,
            peak_before,
            still_finished,
            began,
            _lock: lock,
        })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Seconds of work so far, summed over resumes; work that a crash lost is not counted.
    pub fn secs(&self) -> f64 {
        self.secs_before + self.began.elapsed().as_secs_f64()
    }

    /// One row of metrics.jsonl (`step`, `secs` since the run began, then the metrics) and TensorBoard scalars.
    pub fn log(&mut self, step: u64, metrics: &BTreeMap<String, f64>) -> Result<()> {
        self.still_finished = false;
        let logged = self.log.log(step, self.secs(), metrics);
        logged.with_context(|| self.dir.display().to_string())
    }

    /// samples/step-000100.md, readable text.
    pub fn sample(&self, step: u64, markdown: &str) -> Result<()> {
        let samples = self.dir.join(SAMPLES);
        std::fs::create_dir_all(&samples)
            .with_context(|| format!("cannot create {}", samples.display()))?;
        atomic_write(
            &samples.join(format!("step-{step:06}.md")),
            markdown.as_bytes(),
        )
    }

    /// failed/step-000012.json: what a step that was refused was about to learn from. Returns the file.
    pub fn failed(&self, step: u64, batch: &Value) -> Result<PathBuf> {
        let failed = self.dir.join(FAILED);
        std::fs::create_dir_all(&failed)
            .with_context(|| format!("cannot create {}", failed.display()))?;
        let file = failed.join(format!("step-{step:06}.json"));
        atomic_write(&file, serde_json::to_string(batch)?.as_bytes())?;
        Ok(file)
    }

    /// checkpoints/step-000100/: `write` puts the tensors into a temporary directory, state.json and checksums follow, and the
    /// directory is renamed into place. Then those that `keep` does not ask for are deleted.
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
        Checkpoint::write(&checkpoints, step, self.secs(), state, write).with_context(|| {
            format!("step {step} is not saved; what was saved before is whole, go on from it with --resume")
        })?;
        checkpoint::prune(&checkpoints, keep)?;
        self.put_cost()
    }

    pub fn latest_checkpoint(&self) -> Result<Option<Checkpoint>> {
        Ok(checkpoint::list(&self.dir.join(CHECKPOINTS))?.pop())
    }

    /// Where a run that broke can be taken up, in words.
    pub fn last_good(&self) -> String {
        match self.latest_checkpoint() {
            Ok(Some(kept)) => format!("the last good checkpoint is {}", kept.dir.display()),
            _ => "no checkpoint was written yet".to_string(),
        }
    }

    pub fn read_state<T: DeserializeOwned>(&self, checkpoint: &Checkpoint) -> Result<T> {
        checkpoint.state()
    }

    /// Replaces a whole subdirectory (`adapter`, `reward`, `model`) atomically: written aside, renamed into place.
    pub fn replace_dir(&self, name: &str, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        check_name(name)?;
        atomic_dir(&self.dir.join(name), write)
    }

    /// A file of the run's root, written atomically (template.json, tokenizer.json, …).
    pub fn write_file(&self, name: &str, bytes: &[u8]) -> Result<()> {
        check_name(name)?;
        atomic_write(&self.dir.join(name), bytes)
    }

    /// Adds facts to run.json (data hashes, base model, parents, parameter counts).
    pub fn record(&mut self, key: &str, value: Value) -> Result<()> {
        self.info.insert(key.into(), value);
        write_info(&self.dir, &self.info)
    }

    /// What [`record`](Self::record) wrote under `key`, in this process or one before it.
    pub fn recorded(&self, key: &str) -> Option<&Value> {
        self.info.get(key)
    }

    /// Marks the run done: wall seconds (summed over resumes) and peak memory into run.json.
    pub fn finish(&mut self, summary: &BTreeMap<String, f64>) -> Result<()> {
        let summary = summary
            .iter()
            .map(|(name, value)| (name.clone(), number(*value)))
            .collect();
        self.info.insert("summary".into(), Value::Object(summary));
        self.end("finished")
    }

    /// Marks the run stopped by its user at `step`, after a checkpoint, and says on stderr how to go on.
    pub fn stopped(&mut self, step: u64) -> Result<()> {
        self.end("stopped")?;
        eprintln!(
            "stopped at step {step}; the same command with --resume goes on ({})",
            self.dir.display()
        );
        Ok(())
    }

    fn end(&mut self, status: &str) -> Result<()> {
        self.info.insert("status".into(), status.into());
        self.info
            .insert("ended".into(), crate::rfc3339(SystemTime::now()).into());
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
        // The error that brought us here is the one to tell.
        let _ = if self.still_finished {
            self.info.insert("status".into(), "finished".into());
            write_info(&self.dir, &self.info)
        } else {
            self.end("failed")
        };
    }
}

fn write_info(dir: &Path, info: &Map<String, Value>) -> Result<()> {
    let mut text = serde_json::to_string_pretty(info)?;
    text.push('\n');
    atomic_write(&dir.join(INFO), text.as_bytes())
}

/// Held until the process ends. A file system without locks is taken as it is.
fn lock(dir: &Path) -> Result<File> {
    let path = dir.join(LOCK);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let file = file.with_context(|| format!("cannot write {}", path.display()))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            bail!("{} is being written by another process", dir.display())
        }
        Err(TryLockError::Error(e)) if e.kind() != std::io::ErrorKind::Unsupported => {
            Err(e).with_context(|| format!("cannot lock {}", path.display()))
        }
        _ => Ok(file),
    }
}

/// Creates the parents of `dir`; returns those that were not there, outermost first.
fn make_parents(dir: &Path) -> Result<Vec<PathBuf>> {
    let missing = parent(dir)
        .ancestors()
        .take_while(|p| !p.as_os_str().is_empty() && !p.exists());
    let mut made: Vec<PathBuf> = missing.map(Path::to_path_buf).collect();
    made.reverse();
    let parent = parent(dir);
    std::fs::create_dir_all(parent)
        .with_context(|| format!("cannot create {}", parent.display()))?;
    Ok(made)
}

/// `train.seed` or `seed` of the settings, for run.json.
fn seed(config: &str) -> Option<i64> {
    let table: toml::Table = config.parse().ok()?;
    let nested = table.get("train").and_then(|train| train.get("seed"));
    nested.or_else(|| table.get("seed"))?.as_integer()
}
