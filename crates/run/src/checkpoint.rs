//! One checkpoint, `checkpoints/step-000100/`: the stage's tensors, links to the run's results,
//! then `state.json`, then `SHA256SUMS` of all. The directory gets its name once everything is
//! written and synced.
//!
//! state.json is `{"format", "step", "secs", "results", "state"}`: `secs` of work so far, the
//! results of the run at this step, and `state` from the stage. Format 0 (no key) had no checksums.

use crate::files::atomic_dir;
use crate::results;
use crate::sums::{self, SUMS, names, write_sums};
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::path::{Path, PathBuf};

pub(crate) const STATE: &str = "state.json";
/// The format that this version writes; it reads all earlier ones.
const FORMAT: u64 = 1;

/// A complete checkpoint: its state.json exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub step: u64,
    pub dir: PathBuf,
}

#[derive(Serialize)]
struct Written<'a, T> {
    format: u64,
    step: u64,
    secs: f64,
    results: Vec<String>,
    state: &'a T,
}

#[derive(Deserialize)]
struct Stored {
    secs: f64,
    /// None: an older version, which linked none
    results: Option<Vec<String>>,
    state: serde_json::Value,
}

impl Checkpoint {
    /// Writes it into `checkpoints`, with links to the results of `run`.
    pub(crate) fn write(
        run: &Path,
        checkpoints: &Path,
        step: u64,
        secs: f64,
        state: &impl Serialize,
        write: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        let target = checkpoints.join(format!("step-{step:06}"));
        atomic_dir(&target, |dir| {
            write(dir)?;
            let written = Written {
                format: FORMAT,
                step,
                secs,
                results: results::link(run, dir)?,
                state,
            };
            let state = serde_json::to_vec_pretty(&written).context("state of the checkpoint")?;
            std::fs::write(dir.join(STATE), &state)
                .with_context(|| format!("cannot write {STATE}"))?;
            write_sums(dir)
        })
    }

    /// What is wrong with its files, if anything.
    ///
    /// # Errors
    /// If a later version wrote it.
    pub(crate) fn damage(&self) -> Result<Option<String>> {
        if !self.complete() {
            return Ok(Some(format!("{STATE} is missing")));
        }
        // The checksums come first: even the format number may be damaged.
        let summed = self.dir.join(SUMS).exists();
        if summed && let Some(what) = self.failed_checksum()? {
            return Ok(Some(what));
        }
        let Ok(format) = self.format() else {
            return Ok(Some(format!("{STATE} cannot be read")));
        };
        ensure!(
            format <= FORMAT,
            "{} has format {format}, and this version reads formats up to {FORMAT}; use the version that wrote it",
            self.dir.display()
        );
        if self.stored().is_err() {
            return Ok(Some(format!("{STATE} cannot be read")));
        }
        Ok((format > 0 && !summed).then(|| format!("{SUMS} is missing")))
    }

    fn failed_checksum(&self) -> Result<Option<String>> {
        if let Some(what) = sums::damage(&self.dir)? {
            return Ok(Some(what));
        }
        let (summed, there) = (sums::n_listed(&self.dir), names(&self.dir)?.len() - 1);
        Ok((summed != there).then(|| format!("{SUMS} lists {summed} files, {there} exist")))
    }

    pub(crate) fn complete(&self) -> bool {
        self.dir.join(STATE).is_file()
    }

    /// Seconds of work up to this checkpoint.
    pub(crate) fn secs(&self) -> Result<f64> {
        Ok(self.stored()?.secs)
    }

    /// The results of the run at this step; None: an older version did not keep them.
    pub(crate) fn results(&self) -> Result<Option<Vec<String>>> {
        Ok(self.stored()?.results)
    }

    pub(crate) fn state<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_value(self.stored()?.state).with_context(|| self.damaged())
    }

    /// Read by itself, since a later version may have other keys.
    fn format(&self) -> Result<u64> {
        let state: serde_json::Value = self.read()?;
        let Some(format) = state.get("format") else {
            return Ok(0);
        };
        format.as_u64().with_context(|| self.damaged())
    }

    fn stored(&self) -> Result<Stored> {
        self.read()
    }

    fn read<T: DeserializeOwned>(&self) -> Result<T> {
        let text = std::fs::read(self.dir.join(STATE)).with_context(|| self.damaged())?;
        serde_json::from_slice(&text).with_context(|| self.damaged())
    }

    fn damaged(&self) -> String {
        let dir = self.dir.display();
        format!(
            "{dir}/{STATE} is damaged or from another version (delete {dir} to continue from the checkpoint before it)"
        )
    }
}

/// Bytes of the files that a checkpoint holds beside the run's results.
pub(crate) fn size(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for name in names(dir)?.iter().filter(|name| !results::is_linked(name)) {
        bytes += std::fs::metadata(dir.join(name))?.len();
    }
    Ok(bytes)
}
