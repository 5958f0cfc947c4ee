//! `checkpoints/step-000100/`: the stage's tensors, `state.json` after them, and `SHA256SUMS` of all, which `sha256sum -c` reads.
//! The directory gets its name when it is whole and on the disk.
//!
//! state.json is `{"format", "step", "secs", "state"}`: `secs` of work so far, `state` what the stage gave. Format 0 (no key) had
//! no sums.

use crate::files::{TEMPORARY, atomic_dir, atomic_write, file_hash};
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Of a run directory.
pub(crate) const CHECKPOINTS: &str = "checkpoints";
pub(crate) const STATE: &str = "state.json";
const SUMS: &str = "SHA256SUMS";
/// What this version writes; it reads all before it.
const FORMAT: u64 = 1;
/// What a damaged checkpoint is renamed to, so that nothing takes it for one.
const DAMAGED: &str = "damaged-";

/// A checkpoint that is complete (its state.json is there).
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
        if let Some(latest) = list(checkpoints)?.last() {
            crate::require_space(checkpoints, size(&latest.dir)?)?;
        }
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

    /// What is wrong with its files, if anything. An error where a later version wrote it.
    fn damage(&self) -> Result<Option<String>> {
        if !self.complete() {
            return Ok(Some(format!("{STATE} is missing")));
        }
        // Before anything in it is believed, the format included.
        let summed = self.dir.join(SUMS).exists();
        if summed && let Some(what) = self.unlike_its_sums()? {
            return Ok(Some(what));
        }
        let Ok(format) = self.format() else {
            return Ok(Some(format!("{STATE} cannot be read")));
        };
        ensure!(
            format <= FORMAT,
            "{} is of format {format}, and this version reads up to {FORMAT}: use the version that wrote it",
            self.dir.display()
        );
        if self.stored().is_err() {
            return Ok(Some(format!("{STATE} cannot be read")));
        }
        Ok((format > 0 && !summed).then(|| format!("{SUMS} is missing")))
    }

    fn unlike_its_sums(&self) -> Result<Option<String>> {
        let Ok(sums) = std::fs::read_to_string(self.dir.join(SUMS)) else {
            return Ok(Some(format!("{SUMS} cannot be read")));
        };
        if !sums.ends_with('\n') {
            return Ok(Some(format!("{SUMS} is cut")));
        }
        for line in sums.lines() {
            let Some((hash, name)) = line.split_once("  ") else {
                return Ok(Some(format!("{SUMS} is cut")));
            };
            match file_hash(&self.dir.join(name)) {
                Ok(found) if found == hash => {}
                Ok(_) => return Ok(Some(format!("{name} is not what {SUMS} says"))),
                Err(_) => return Ok(Some(format!("{name} cannot be read"))),
            }
        }
        let summed = sums.lines().count();
        let there = names(&self.dir)?.len() - 1;
        Ok((summed != there).then(|| format!("{SUMS} is of {summed} files, {there} are there")))
    }

    fn complete(&self) -> bool {
        self.dir.join(STATE).is_file()
    }

    /// Seconds of work up to this checkpoint.
    pub(crate) fn secs(&self) -> Result<f64> {
        Ok(self.stored()?.secs)
    }

    pub(crate) fn state<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_value(self.stored()?.state).with_context(|| self.damaged())
    }

    /// Alone, because a later version may have other keys beside it.
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
            "{dir}/{STATE} is not of this version or is damaged (delete {dir} to continue from the checkpoint before it)"
        )
    }
}

/// Whether a run has a checkpoint to go on from.
pub fn has_checkpoint(run: &Path) -> Result<bool> {
    Ok(!list(&run.join(CHECKPOINTS))?.is_empty())
}

/// The complete checkpoints, oldest first.
pub(crate) fn list(checkpoints: &Path) -> Result<Vec<Checkpoint>> {
    let mut found = found(checkpoints)?;
    found.retain(Checkpoint::complete);
    Ok(found)
}

/// Whatever has the name of one, oldest first.
fn found(checkpoints: &Path) -> Result<Vec<Checkpoint>> {
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
            && entry.path().is_dir()
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

/// A checkpoint, and what is wrong with it.
pub type Damaged = (Checkpoint, String);

/// The newest checkpoint of `step` or before that is whole, and the damaged ones after it, newest first.
pub fn newest_whole(run: &Path, step: u64) -> Result<(Option<Checkpoint>, Vec<Damaged>)> {
    let mut damaged = Vec::new();
    let mut found = found(&run.join(CHECKPOINTS))?;
    found.retain(|checkpoint| checkpoint.step <= step);
    for checkpoint in found.into_iter().rev() {
        match checkpoint.damage()? {
            Some(what) => damaged.push((checkpoint, what)),
            None => return Ok((Some(checkpoint), damaged)),
        }
    }
    Ok((None, damaged))
}

/// The newest checkpoint that is whole, those after it set aside by name and told on stderr; none if there is none at all.
pub(crate) fn latest_whole(run: &Path) -> Result<Option<Checkpoint>> {
    let (whole, damaged) = newest_whole(run, u64::MAX)?;
    if whole.is_none()
        && let Some((first, what)) = damaged.first()
    {
        bail!(
            "{} is damaged ({what}), and no checkpoint before it is whole; put a copy of one there, or begin a new run",
            first.dir.display()
        );
    }
    for (checkpoint, what) in damaged {
        let at = checkpoint.dir.display();
        let aside = format!("{DAMAGED}step-{:06}", checkpoint.step);
        let aside = checkpoint.dir.with_file_name(aside);
        let _ = std::fs::remove_dir_all(&aside); // one set aside earlier
        std::fs::rename(&checkpoint.dir, &aside).with_context(|| format!("cannot rename {at}"))?;
        eprintln!(
            "{at} is damaged ({what}): it is {} now, and the checkpoint before it is used",
            aside.display()
        );
    }
    Ok(whole)
}

/// The files of a directory, sorted; a checkpoint has no folders.
fn names(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn size(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for name in names(dir)? {
        bytes += std::fs::metadata(dir.join(name))?.len();
    }
    Ok(bytes)
}

/// What of the checkpoints stays.
#[derive(Clone, Copy, Debug)]
pub struct RetentionPolicy {
    /// The newest ones, at least 1
    pub n: usize,
    /// As many of those as fit in so many MB; the newest whatever its size
    pub mb: Option<u64>,
}

impl RetentionPolicy {
    /// Most bytes of the checkpoints that stay, each of `checkpoint` bytes.
    pub fn bytes(&self, checkpoint: u64) -> u64 {
        let most = self.mb.map_or(u64::MAX, |mb| mb.saturating_mul(1_000_000));
        let kept = checkpoint.saturating_mul(self.n as u64);
        kept.min(most.max(checkpoint))
    }
}

/// Deletes the others, and older ones that are not complete. Each loses its name first, so that half a deletion is no checkpoint and
/// is swept.
pub(crate) fn prune(checkpoints: &Path, keep: RetentionPolicy) -> Result<()> {
    let (mut kept, mut bytes) = (0, 0);
    for old in found(checkpoints)?.into_iter().rev() {
        let stays = if old.complete() {
            bytes += size(&old.dir)?;
            let fits = |mb: u64| bytes <= mb.saturating_mul(1_000_000);
            kept == 0 || (kept < keep.n && keep.mb.is_none_or(fits))
        } else {
            kept == 0
        };
        if stays {
            kept += usize::from(old.complete());
            continue;
        }
        let aside = checkpoints.join(format!("{TEMPORARY}step-{:06}", old.step));
        let delete =
            std::fs::rename(&old.dir, &aside).and_then(|()| std::fs::remove_dir_all(&aside));
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
