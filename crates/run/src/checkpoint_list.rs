//! The checkpoints of a run: finding the newest intact one, and deleting old ones.

use crate::checkpoint::{Checkpoint, size};
use crate::files::{self, TEMPORARY};
use anyhow::{Context, Result, bail};
use std::path::Path;

/// Directory inside a run directory.
pub(crate) const CHECKPOINTS: &str = "checkpoints";
/// Prefix of a quarantined checkpoint.
const DAMAGED: &str = "damaged-";

/// Whether a run has a checkpoint to resume from.
pub fn has_checkpoint(run: &Path) -> Result<bool> {
    Ok(!list(&run.join(CHECKPOINTS))?.is_empty())
}

/// The complete checkpoints, oldest first.
pub(crate) fn list(checkpoints: &Path) -> Result<Vec<Checkpoint>> {
    let mut found = found(checkpoints)?;
    found.retain(Checkpoint::complete);
    Ok(found)
}

/// Directories with a checkpoint's name, complete or not, oldest first.
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

/// A damaged checkpoint, and what is wrong with it.
pub type Damaged = (Checkpoint, String);

/// The newest intact checkpoint of `step` or earlier, and the damaged ones after it, newest first.
pub fn newest_intact(run: &Path, step: u64) -> Result<(Option<Checkpoint>, Vec<Damaged>)> {
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

/// The newest intact checkpoint, `None` if the run has no checkpoint at all, and the damaged ones
/// after it.
///
/// # Errors
/// If all are damaged.
pub(crate) fn newest_undamaged(run: &Path) -> Result<(Option<Checkpoint>, Vec<Damaged>)> {
    let (intact, damaged) = newest_intact(run, u64::MAX)?;
    if intact.is_none()
        && let Some((first, what)) = damaged.first()
    {
        bail!(
            "{} is damaged ({what}), and no earlier checkpoint is intact; restore a copy of one, or start a new run",
            first.dir.display()
        );
    }
    Ok((intact, damaged))
}

/// Reports damaged checkpoints on stderr and renames them so that nothing uses them.
pub(crate) fn quarantine(damaged: Vec<Damaged>) -> Result<()> {
    for (checkpoint, what) in damaged {
        let at = checkpoint.dir.display();
        let aside = format!("{DAMAGED}step-{:06}", checkpoint.step);
        let aside = checkpoint.dir.with_file_name(aside);
        let _ = std::fs::remove_dir_all(&aside); // one quarantined earlier
        std::fs::rename(&checkpoint.dir, &aside).with_context(|| format!("cannot rename {at}"))?;
        crate::say!(
            "{at} is damaged ({what}); renamed to {}, using the checkpoint before it",
            aside.display()
        );
    }
    Ok(())
}

/// Which checkpoints are kept.
#[derive(Clone, Copy, Debug)]
pub struct RetentionPolicy {
    /// How many of the newest, at least 1
    pub n: usize,
    /// Their most MB in all; the newest is kept whatever its size
    pub mb: Option<u64>,
}

impl RetentionPolicy {
    /// The most bytes that the kept checkpoints take, each of `checkpoint` bytes.
    pub fn bytes(&self, checkpoint: u64) -> u64 {
        let most = self.mb.map_or(u64::MAX, |mb| mb.saturating_mul(1_000_000));
        let kept = checkpoint.saturating_mul(self.n as u64);
        kept.min(most.max(checkpoint))
    }
}

/// Deletes the checkpoints that `keep` does not retain, and older incomplete ones. Each is renamed
/// first, so that [`sweep`] removes a half-deleted one.
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
        // One checkpoint too many is no reason to end a run.
        if let Err(why) = delete {
            crate::say!("cannot delete {}: {why}; going on", old.dir.display());
        }
    }
    Ok(())
}

/// Deletes files that a crash left half-written in `dir`. The caller holds the run's lock.
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

/// Checks that there is room for another checkpoint as large as the newest.
pub(crate) fn require_space(checkpoints: &Path) -> Result<()> {
    match list(checkpoints)?.last() {
        Some(latest) => files::require_space(checkpoints, size(&latest.dir)?),
        None => Ok(()),
    }
}
