//! Creating a run directory, and reopening one to resume it.

use crate::checkpoint::Checkpoint;
use crate::checkpoint_list::{CHECKPOINTS, latest_intact, sweep};
use crate::config::from_table;
use crate::directory::{FAILED, Run, SAMPLES};
use crate::files::{TEMPORARY, atomic_write, parent, sync_dir, sync_tree};
use crate::metrics::{METRICS, MetricsLog, TIMINGS};
use crate::results::{self, RESULTS};
use crate::rules::{self, Rules};
use crate::run_info::{
    CONFIG, INFO, announce, damaged_files, read_config, read_info, settle, write_info,
};
use crate::sums::names;
use crate::tensorboard::EVENTS;
use crate::time_format::rfc3339;
use crate::{provenance, resume_settings, signals};
use anyhow::{Context, Result, bail, ensure};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};
use toml::Table;

const LOCK: &str = ".lock";

impl Run {
    /// Creates `dir` with config.toml (resolved, every key) and run.json (provenance: stage, argv,
    /// version, git commit if any, start time, machine, threads).
    ///
    /// # Errors
    /// If `dir` cannot be written, or exists and is not empty. Nothing is left behind on an error;
    /// what a killed process left of a directory without run.json is used.
    ///
    /// ```
    /// let root = tempfile::tempdir()?;
    /// let config = serde_json::json!({ "train": { "lr": 1e-4, "seed": 1 } });
    /// let mut run = run::Run::create(&root.path().join("mine"), "sft", &config)?;
    /// run.log(1, &[("train/loss".to_string(), 0.5)].into())?;
    /// run.finish(&Default::default())?;
    ///
    /// let saved = run::open_saved_run(run.dir())?.expect("a run directory");
    /// assert_eq!((saved.stage.as_str(), saved.status()), ("sft", "finished"));
    /// assert_eq!(run::read_metrics(run.dir())?[0].metrics["train/loss"], 0.5);
    /// # Ok::<(), anyhow::Error>(())
    /// ```
    pub fn create(dir: &Path, stage: &str, config: &impl Serialize) -> Result<Self> {
        ensure_creatable(dir)?;
        let config = toml::to_string_pretty(config).context("settings")?;
        let mut info = provenance::collect(stage);
        info.insert(rules::KEY.into(), Rules::CURRENT.number().into());
        if let Some(seed) = seed(&config) {
            info.insert("seed".into(), seed.into());
        }
        let made = make_directories(dir)?;
        let created = create_contents(dir, &config, info);
        if created.is_err() {
            if made.iter().any(|made| made == dir) {
                let _ = std::fs::remove_dir_all(dir);
            }
            for dir in made.iter().rev() {
                let _ = std::fs::remove_dir(dir); // only if it is empty
            }
        }
        created.with_context(|| format!("cannot create {}", dir.display()))
    }

    /// Opens an existing run for `--resume` and cuts its logs back to the last intact checkpoint.
    ///
    /// The settings must equal those it began with, except cadences, `keep…` and the length of the
    /// run. Without a checkpoint the run starts from the beginning; it may reuse what it left (such
    /// as a scored pool), so its settings must be equal then, too.
    ///
    /// # Errors
    /// If `dir` is not a run of `stage`, another process writes it, the settings differ, or it has
    /// checkpoints and all of them are damaged.
    pub fn resume<C>(dir: &Path, stage: &str, config: &C) -> Result<Self>
    where
        C: Serialize + DeserializeOwned,
    {
        Self::resume_by(dir, stage, config, Ok)
    }

    /// [`Run::resume`] for a run that an older version may have created: `migrate` turns its
    /// settings, parsed by this version, into those that this version would have stored.
    pub fn resume_by<C>(
        dir: &Path,
        stage: &str,
        config: &C,
        migrate: impl FnOnce(C) -> Result<C>,
    ) -> Result<Self>
    where
        C: Serialize + DeserializeOwned,
    {
        let shown = dir.display();
        ensure!(
            dir.exists(),
            "{shown}: no such run; leave out --resume to begin it"
        );
        ensure!(
            dir.join(INFO).exists(),
            "{shown} is not a run directory (it has no {INFO}){}",
            match is_creatable(dir) {
                true => "; leave out --resume to begin it",
                false => "",
            }
        );
        let lock = lock(dir)?;
        let mut info = read_info(dir)?;
        let of = text(&info, "stage");
        ensure!(of == stage, "{shown} is a run of {of}, not of {stage}");

        sweep(dir)?;
        for within in [CHECKPOINTS, SAMPLES, FAILED] {
            sweep(&dir.join(within))?;
        }
        let latest = latest_intact(dir)?;
        let still_finished = text(&info, "status") == "finished";
        let result = RESULTS.into_iter().find(|name| dir.join(name).is_dir());
        if let Some(result) = result.filter(|_| still_finished && latest.is_none()) {
            bail!(
                "{shown} is finished and has no checkpoint to resume from; starting over would \
                 overwrite its {result}/: choose another --run"
            );
        }
        let secs_before = latest.as_ref().map_or(Ok(0.0), Checkpoint::secs)?;
        check_files(dir, &info)?;
        replace_config(dir, &mut info, config, migrate)?;
        let step = latest.as_ref().map(|checkpoint| checkpoint.step);
        let (log, cut) = MetricsLog::reopen(dir, step)?;
        if cut || !still_finished {
            drop_later(dir, step.unwrap_or(0))?;
            match &latest {
                Some(checkpoint) => {
                    let linked = checkpoint.results()?;
                    results::restore(dir, &checkpoint.dir, linked.as_deref())?;
                }
                None => results::restore(dir, dir, Some(&[]))?,
            }
        } else {
            results::check(dir)?;
        }
        let peak_before = info.get("peak_memory_bytes").and_then(Value::as_u64);
        record_resume(&mut info, step);
        write_info(dir, &info)?;
        signals::stop_on_signals()?;
        Ok(Self {
            dir: dir.to_path_buf(),
            info,
            log,
            secs_before,
            peak_before: peak_before.unwrap_or(0),
            still_finished,
            began: Instant::now(),
            _lock: lock,
        })
    }
}

/// Whether a run may be created in `dir`: it does not exist, is empty, or has what a process that
/// was killed while it created a run left there.
pub(crate) fn is_creatable(dir: &Path) -> bool {
    if dir.symlink_metadata().is_err() {
        return true;
    }
    let Ok(found) = names(dir) else { return false };
    let of_ours = |name: &String| {
        [LOCK, CONFIG, METRICS, TIMINGS].contains(&name.as_str())
            || [TEMPORARY, EVENTS]
                .iter()
                .any(|start| name.starts_with(start))
    };
    // an empty file system of its own has lost+found
    let mut found = found.iter().filter(|name| *name != "lost+found").peekable();
    found.peek().is_none() || (dir.join(LOCK).exists() && found.all(of_ours))
}

fn ensure_creatable(dir: &Path) -> Result<()> {
    if is_creatable(dir) {
        return Ok(());
    }
    let what = match dir.join(INFO).exists() {
        true => "is a run already",
        false => "exists and is not a run",
    };
    bail!(
        "{} {what}; continue a run with --resume, or choose another --run",
        dir.display()
    )
}

/// Fills the directory; run.json, which makes it a run, comes last.
fn create_contents(dir: &Path, config: &str, mut info: Map<String, Value>) -> Result<Run> {
    let lock = lock(dir)?;
    ensure_creatable(dir)?; // now that nobody else creates it
    sweep(dir)?;
    for name in names(dir)? {
        if [CONFIG, METRICS, TIMINGS].contains(&name.as_str()) || name.starts_with(EVENTS) {
            std::fs::remove_file(dir.join(name))?;
        }
    }
    atomic_write(&dir.join(CONFIG), config.as_bytes())?;
    announce(&mut info, CONFIG, config.as_bytes());
    let log = MetricsLog::create(dir)?;
    sync_tree(dir)?;
    signals::stop_on_signals()?;
    write_info(dir, &info)?;
    sync_dir(parent(dir))?;
    Ok(Run {
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

/// Refuses damaged settings. Other files are written again from what they were made of, pools are
/// checked when they are read.
fn check_files(dir: &Path, info: &Map<String, Value>) -> Result<()> {
    for name in damaged_files(dir, info)? {
        let file = dir.join(&name);
        let shown = file.display();
        ensure!(
            name != CONFIG,
            "{shown} is damaged: it does not match its hash in {INFO}; restore it from a copy of \
             the run"
        );
        crate::say!("{shown} is damaged: it does not match its hash in {INFO}");
    }
    Ok(())
}

/// Checks that the settings may replace the stored ones, then stores them.
fn replace_config<C>(
    dir: &Path,
    info: &mut Map<String, Value>,
    config: &C,
    migrate: impl FnOnce(C) -> Result<C>,
) -> Result<()>
where
    C: Serialize + DeserializeOwned,
{
    let config = toml::to_string_pretty(config).context("settings")?;
    let stored = read_config(dir)?;
    let migrated = from_table(&stored, "").and_then(migrate);
    // As text, like the new settings: an f32 in memory is another number than the decimals that are
    // written for it.
    let migrated = migrated.and_then(|stored| Ok(toml::to_string_pretty(&stored)?.parse()?));
    // Settings that this version cannot parse differ from all that it can.
    resume_settings::compare(dir, &migrated.unwrap_or(stored), &config)?;
    announce(info, CONFIG, config.as_bytes());
    write_info(dir, info)?;
    atomic_write(&dir.join(CONFIG), config.as_bytes())?;
    settle(info, CONFIG);
    Ok(())
}

/// Deletes samples and pools of steps after `step`, which the resumed run makes again.
pub(crate) fn drop_later(run: &Path, step: u64) -> Result<()> {
    for (dir, prefix) in [(run.join(SAMPLES), "step-"), (run.to_path_buf(), "pool-")] {
        if !dir.is_dir() {
            continue;
        }
        for name in names(&dir)? {
            let number = name
                .strip_prefix(prefix)
                .and_then(|rest| rest.split('.').next());
            let later = |n: &str| n.parse().is_ok_and(|n: u64| n > step);
            if number.is_some_and(later) {
                let file = dir.join(&name);
                std::fs::remove_file(&file)
                    .with_context(|| format!("cannot delete {}", file.display()))?;
            }
        }
    }
    Ok(())
}

fn record_resume(info: &mut Map<String, Value>, step: Option<u64>) {
    info.insert("status".into(), "running".into());
    let resumed = info.entry("resumed").or_insert_with(|| json!([]));
    if let Value::Array(list) = resumed {
        let now = rfc3339(SystemTime::now());
        list.push(json!({ "started": now, "step": step, "argv": provenance::argv() }));
    }
}

fn text(info: &Map<String, Value>, key: &str) -> String {
    let value = info.get(key).and_then(Value::as_str);
    value.unwrap_or_default().to_string()
}

/// Locks the directory until the process ends. A file system without locks is accepted.
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

/// Creates `dir` and its parents; returns the new ones, outermost first.
fn make_directories(dir: &Path) -> Result<Vec<PathBuf>> {
    let missing = dir
        .ancestors()
        .take_while(|p| !p.as_os_str().is_empty() && !p.exists());
    let mut made: Vec<PathBuf> = missing.map(Path::to_path_buf).collect();
    made.reverse();
    let above = parent(dir);
    std::fs::create_dir_all(above).with_context(|| format!("cannot create {}", above.display()))?;
    std::fs::create_dir_all(dir)
        .with_context(|| format!("cannot write into {}", above.display()))
        .with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(made)
}

/// `train.seed` or `seed` of the settings, for run.json.
fn seed(config: &str) -> Option<i64> {
    let table: Table = config.parse().ok()?;
    let nested = table.get("train").and_then(|train| train.get("seed"));
    nested.or_else(|| table.get("seed"))?.as_integer()
}
