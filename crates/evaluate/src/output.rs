//! Checks the path given by `--out`.

use anyhow::{Result, ensure};
use std::path::Path;

/// The directory that contains `--out`; it must exist before any work begins.
pub(crate) fn ensure_parent(out: &Path) -> Result<&Path> {
    let parent = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    ensure!(
        parent.is_dir(),
        "{} does not exist; --out is written into it",
        parent.display()
    );
    Ok(parent)
}
