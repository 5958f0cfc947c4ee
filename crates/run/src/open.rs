//! Creating a run directory.

use crate::checkpoint_list::sweep;
use crate::directory::Run;
use crate::files::{TEMPORARY, atomic_write, parent, plain, sync_dir, sync_tree};
use crate::metrics::{METRICS, MetricsLog, TIMINGS};
use crate::rules::{self, Rules};
use crate::run_info::{CONFIG, INFO, announce, write_info};
use crate::sums::names;
use crate::tensorboard::EVENTS;
use crate::{provenance, signals};
use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::{Map, Value};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Instant;
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

/// Fails if `dir` cannot be created, or written into if it exists. Leaves nothing behind.
pub(crate) fn ensure_writable(dir: &Path) -> Result<()> {
    let here = dir.ancestors().find(|path| path.exists());
    let here = here.unwrap_or(Path::new("."));
    tempfile::tempfile_in(here)
        .map(drop)
        .map_err(|e| plain(&e, &here.join(TEMPORARY)))
        .with_context(|| format!("cannot write into {}", here.display()))
        .with_context(|| format!("cannot create {}", dir.display()))
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
        log: Some(log),
        reopened: None,
        settings_before: None,
        secs_before: 0.0,
        peak_before: 0,
        still_finished: false,
        began: Instant::now(),
        _lock: lock,
    })
}

/// Locks the directory until the process ends. A file system without locks is accepted.
pub(crate) fn lock(dir: &Path) -> Result<File> {
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
