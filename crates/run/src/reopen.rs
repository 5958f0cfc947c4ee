//! Reopening a run to resume it. Everything is checked first, by this file and by the stage; only
//! [`Run::begin`] writes. So a refused `--resume` leaves every byte of the run as it was.

use crate::checkpoint::Checkpoint;
use crate::checkpoint_list::{CHECKPOINTS, newest_undamaged, quarantine, sweep};
use crate::config::from_table;
use crate::directory::{FAILED, Reopened, Run, SAMPLES};
use crate::files::atomic_write;
use crate::metrics::{self, MetricsLog};
use crate::open::{is_creatable, lock};
use crate::results::{self, RESULTS};
use crate::resume_settings::{self, Changes};
use crate::run_info::{
    CONFIG, INFO, announce, damaged_files, read_config, read_info, settle, write_info,
};
use crate::saved_run::{SavedRun, open_saved_run};
use crate::sums::names;
use crate::{history, signals};
use anyhow::{Context, Result, bail, ensure};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use std::path::Path;
use std::time::Instant;
use toml::Table;

impl Run {
    /// Opens an existing run for `--resume` and writes nothing yet: what is recorded in it, and the
    /// files of its root, are kept until [`begin`](Self::begin). Dropped before that, the run is as
    /// it was.
    ///
    /// The settings must equal those it began with, except cadences, `keep…` and the length of the
    /// run. Without a checkpoint the run starts from the beginning; it may reuse what it left (such
    /// as a scored pool), so its settings must be equal then, too.
    ///
    /// An older version may have created the run: `migrate` turns its settings, parsed by this
    /// version, into those that this version would have stored.
    ///
    /// # Errors
    /// If `dir` is not a run of `stage`, another process writes it, the settings differ, or it has
    /// checkpoints and all of them are damaged.
    pub fn reopen<C>(
        dir: &Path,
        stage: &str,
        config: &C,
        migrate: impl FnOnce(C) -> Result<C>,
    ) -> Result<Self>
    where
        C: Serialize + DeserializeOwned,
    {
        let shown = dir.display();
        ensure_run(dir)?;
        let lock = lock(dir)?;
        let mut info = read_info(dir)?;
        ensure_stage(dir, &text(&info, "stage"), stage)?;

        let (latest, damaged) = newest_undamaged(dir)?;
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
        // With a damaged checkpoint the results are restored from an earlier one, so need no check.
        if still_finished && damaged.is_empty() {
            results::check(dir)?;
        }
        metrics::check(dir)?;
        let config = toml::to_string_pretty(config).context("settings")?;
        let stored = stored_settings(dir, migrate)?;
        let Changes { lines, before } = resume_settings::compare(dir, &stored, &config)?;

        let peak_before = info.get("peak_memory_bytes").and_then(Value::as_u64);
        let step = latest.as_ref().map(|checkpoint| checkpoint.step);
        history::record_resume(&mut info, step, before);
        Ok(Self {
            dir: dir.to_path_buf(),
            info,
            log: None,
            reopened: Some(Reopened {
                latest,
                damaged,
                files: vec![(CONFIG.to_string(), config.into_bytes())],
                lines,
            }),
            settings_before: Some(stored),
            secs_before,
            peak_before: peak_before.unwrap_or(0),
            still_finished,
            began: Instant::now(),
            _lock: lock,
        })
    }

    /// Writes what was recorded since the run was reopened: settings, files and run.json. Cuts the
    /// logs back to the last intact checkpoint, and quarantines damaged ones after it. Call it once
    /// nothing can refuse the command any more; a run that has begun is left as it is.
    ///
    /// # Errors
    /// If the directory cannot be written.
    pub fn begin(&mut self) -> Result<()> {
        let Some(reopened) = self.reopened.take() else {
            return Ok(());
        };
        let dir = &self.dir;
        sweep(dir)?;
        for within in [CHECKPOINTS, SAMPLES, FAILED] {
            sweep(&dir.join(within))?;
        }
        quarantine(reopened.damaged)?;
        for line in &reopened.lines {
            crate::say!("{line}");
        }
        for (name, bytes) in &reopened.files {
            announce(&mut self.info, name, bytes);
        }
        write_info(dir, &self.info)?;
        for (name, bytes) in &reopened.files {
            atomic_write(&dir.join(name), bytes)?;
            settle(&mut self.info, name);
        }
        let step = reopened.latest.as_ref().map(|checkpoint| checkpoint.step);
        let (log, cut) = MetricsLog::reopen(dir, step)?;
        self.log = Some(log);
        let linked = reopened
            .latest
            .as_ref()
            .map(Checkpoint::results)
            .transpose()?;
        let linked = linked.flatten().unwrap_or_default();
        let is_missing = linked.iter().any(|name| !dir.join(name).is_dir());
        if cut || is_missing || !self.still_finished {
            drop_later(dir, step.unwrap_or(0))?;
            match &reopened.latest {
                Some(checkpoint) => {
                    let linked = checkpoint.results()?;
                    results::restore(dir, &checkpoint.dir, linked.as_deref())?;
                }
                None => results::restore(dir, dir, Some(&[]))?,
            }
        }
        // Not before: a kill until here leaves a finished run finished, with its results.
        self.info.insert("status".into(), "running".into());
        write_info(dir, &self.info)?;
        signals::stop_on_signals()
    }

    /// The table `section` of the settings that a resumed run had before; None for a new run.
    pub fn settings_before<T: DeserializeOwned>(&self, section: &str) -> Option<T> {
        let table = self.settings_before.as_ref()?.get(section)?;
        table.clone().try_into().ok()
    }
}

/// Opens a run of `stage` to resume it.
///
/// # Errors
/// If it is none, and as [`open_saved_run`].
pub(crate) fn open_to_resume(dir: &Path, stage: &str) -> Result<SavedRun> {
    ensure_run(dir)?;
    let saved = open_saved_run(dir)?.with_context(|| format!("cannot read {}", dir.display()))?;
    ensure_stage(dir, &saved.stage, stage)?;
    Ok(saved)
}

/// Refuses a directory that is no run.
fn ensure_run(dir: &Path) -> Result<()> {
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
    Ok(())
}

/// Refuses a run of another stage than `wanted`.
fn ensure_stage(dir: &Path, found: &str, wanted: &str) -> Result<()> {
    ensure!(
        found == wanted,
        "{} is a run of {found}, not of {wanted}",
        dir.display()
    );
    Ok(())
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

/// The run's settings as this version would store them. Those that it cannot parse stay as they
/// are: they differ from all that it can.
fn stored_settings<C>(dir: &Path, migrate: impl FnOnce(C) -> Result<C>) -> Result<Table>
where
    C: Serialize + DeserializeOwned,
{
    let stored = read_config(dir)?;
    let migrated = from_table(&stored, "").and_then(migrate);
    // As text, like the new settings: an f32 in memory is another number than the decimals that are
    // written for it.
    let migrated = migrated.and_then(|stored| Ok(toml::to_string_pretty(&stored)?.parse()?));
    Ok(migrated.unwrap_or(stored))
}

/// Deletes samples and pools of steps after `step`, which the resumed run makes again.
fn drop_later(run: &Path, step: u64) -> Result<()> {
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

fn text(info: &Map<String, Value>, key: &str) -> String {
    let value = info.get(key).and_then(Value::as_str);
    value.unwrap_or_default().to_string()
}
