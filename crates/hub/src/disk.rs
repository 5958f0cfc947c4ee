//! Room on the disk, asked for before a download begins.

use crate::Failure;
use std::path::Path;

/// Fails where the disk of a folder has no room for so many bytes more.
pub(crate) fn require_space(folder: &Path, n_bytes: u64) -> Result<(), Failure> {
    let exists = |folder: &&Path| folder.exists();
    let Some(Ok(disk)) = folder.ancestors().find(exists).map(rustix::fs::statvfs) else {
        return Ok(()); // unknown
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if n_bytes <= free {
        return Ok(());
    }
    let mb = |bytes: u64| bytes.div_ceil(1_000_000);
    Err(Failure::File(format!(
        "needs {} MB in {}, and {} MB are free; free some, or set HF_HOME to another disk",
        mb(n_bytes),
        folder.display(),
        mb(free)
    )))
}
