//! One checkpoint, `checkpoints/step-000100/`: the stage's tensors, then `state.json`, then
//! `SHA256SUMS` of both, which `sha256sum -c` reads. The directory gets its name once everything is
//! written and synced.
//!
//! state.json is `{"format", "step", "secs", "state"}`: `secs` of work so far, and `state` from the
//! stage. Format 0 (no key) had no checksums.

use crate::files::{atomic_dir, atomic_write, file_hash};
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::fmt::Write;
use std::path::{Path, PathBuf};

pub(crate) const STATE: &str = "state.json";
const SUMS: &str = "SHA256SUMS";
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
        let written = Written {
            format: FORMAT,
            step,
            secs,
            state,
        };
        let state = serde_json::to_vec_pretty(&written).context("state of the checkpoint")?;
        let target = checkpoints.join(format!("step-{step:06}"));
        atomic_dir(&target, |dir| {
            write(dir)?;
            std::fs::write(dir.join(STATE), &state)
                .with_context(|| format!("cannot write {STATE}"))?;
            let mut sums = String::new();
            for name in names(dir)? {
                let hash = file_hash(&dir.join(&name))?;
                writeln!(sums, "{hash}  {name}").expect("writing to a String");
            }
            atomic_write(&dir.join(SUMS), sums.as_bytes())
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
        let Ok(sums) = std::fs::read_to_string(self.dir.join(SUMS)) else {
            return Ok(Some(format!("{SUMS} cannot be read")));
        };
        if !sums.ends_with('\n') {
            return Ok(Some(format!("{SUMS} is truncated")));
        }
        for line in sums.lines() {
            let Some((hash, name)) = line.split_once("  ") else {
                return Ok(Some(format!("{SUMS} is truncated")));
            };
            match file_hash(&self.dir.join(name)) {
                Ok(found) if found == hash => {}
                Ok(_) => return Ok(Some(format!("{name} does not match {SUMS}"))),
                Err(_) => return Ok(Some(format!("{name} cannot be read"))),
            }
        }
        let summed = sums.lines().count();
        let there = names(&self.dir)?.len() - 1;
        Ok((summed != there).then(|| format!("{SUMS} lists {summed} files, {there} exist")))
    }

    pub(crate) fn complete(&self) -> bool {
        self.dir.join(STATE).is_file()
    }

    /// Seconds of work up to this checkpoint.
    pub(crate) fn secs(&self) -> Result<f64> {
        Ok(self.stored()?.secs)
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

/// Names of the files in a directory, sorted. A checkpoint has no subdirectories.
fn names(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Bytes of all files in a checkpoint.
pub(crate) fn size(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for name in names(dir)? {
        bytes += std::fs::metadata(dir.join(name))?.len();
    }
    Ok(bytes)
}
