//! `checkpoints/step-000100/`: the stage's tensors, and `state.json`, whose presence means that the rest is whole.
//!
//! state.json is `{"step", "secs", "state"}`: `secs` of work so far, `state` what the stage gave.

use crate::files::{TEMPORARY, atomic_dir, atomic_write};
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::path::{Path, PathBuf};

pub(crate) const STATE: &str = "state.json";

/// A checkpoint that is complete (its state.json is there).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub step: u64,
    pub dir: PathBuf,
}

#[derive(Serialize)]
struct Written<'a, T> {
    step: u64,
    secs: f64,
    state: &'a T,
}

#[derive(Deserialize)]
struct Stored {
    secs: f64,
    state: serde_json::Value,
}

impl Checkpoint {
    pub(crate) fn write(
        checkpoints: &Path,
        step: u64,
        secs: f64,
        state: &impl Serialize,
        write: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        let state = serde_json::to_vec_pretty(&Written { step, secs, state })
            .context("state of the checkpoint")?;
        let target = checkpoints.join(format!("step-{step:06}"));
        atomic_dir(&target, |dir| {
            write(dir)?;
            crate::files::sync_tree(dir)?;
            atomic_write(&dir.join(STATE), &state)
        })
    }

    /// Seconds of work up to this checkpoint.
    pub(crate) fn secs(&self) -> Result<f64> {
        Ok(self.stored()?.secs)
    }

    pub(crate) fn state<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_value(self.stored()?.state).with_context(|| self.damaged())
    }

    fn stored(&self) -> Result<Stored> {
        let text = std::fs::read(self.dir.join(STATE)).with_context(|| self.damaged())?;
        serde_json::from_slice(&text).with_context(|| self.damaged())
    }

    fn damaged(&self) -> String {
        let dir = self.dir.display();
        format!("{dir}/{STATE} is damaged (delete {dir} to continue from the checkpoint before it)")
    }
}

/// The complete checkpoints, oldest first.
pub(crate) fn list(checkpoints: &Path) -> Result<Vec<Checkpoint>> {
    let mut found = Vec::new();
    if !checkpoints.exists() {
        return Ok(found);
    }
    for entry in std::fs::read_dir(checkpoints)
        .with_context(|| format!("cannot read {}", checkpoints.display()))?
    {
        let entry = entry?;
        let name = entry.file_name();
        let step = name
            .to_str()
            .and_then(|n| n.strip_prefix("step-")?.parse().ok());
        if let Some(step) = step
            && entry.path().join(STATE).is_file()
        {
            found.push(Checkpoint {
                step,
                dir: entry.path(),
            });
        }
    }
    found.sort_by_key(|checkpoint| checkpoint.step);
    Ok(found)
}

/// Deletes all but the newest `keep`; each loses its state.json first, so that half a deletion is no checkpoint.
pub(crate) fn prune(checkpoints: &Path, keep: usize) -> Result<()> {
    let all = list(checkpoints)?;
    for old in &all[..all.len().saturating_sub(keep.max(1))] {
        let delete = std::fs::remove_file(old.dir.join(STATE))
            .and_then(|()| std::fs::remove_dir_all(&old.dir));
        delete.with_context(|| format!("cannot delete {}", old.dir.display()))?;
    }
    Ok(())
}

/// Deletes what a crash left half-written in `dir`. Only under the run's lock.
pub(crate) fn sweep(dir: &Path) -> Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            continue;
        }
        let path = entry.path();
        let delete = if path.is_dir() {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        };
        delete.with_context(|| format!("cannot delete {}", path.display()))?;
    }
    Ok(())
}

/// A name inside the run directory, not a way out of it.
pub(crate) fn check_name(name: &str) -> Result<()> {
    ensure!(
        !name.is_empty() && !name.starts_with('.') && !name.contains('/'),
        "{name:?} is not a name of a file in a run directory"
    );
    Ok(())
}
