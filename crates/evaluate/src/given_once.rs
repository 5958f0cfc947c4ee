//! Lists on the command line whose members must differ.

use anyhow::{Result, ensure};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Fails if `flag` names one file or directory twice, also if it is spelled otherwise the second
/// time. What is no path, such as a model of the hub, is compared as text.
pub(crate) fn ensure_each_once<P: AsRef<Path>>(flag: &str, paths: &[P]) -> Result<()> {
    let mut seen: BTreeMap<PathBuf, &Path> = BTreeMap::new();
    for path in paths {
        let path = path.as_ref();
        let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let before = seen.insert(real, path);
        ensure!(
            before.is_none(),
            "{flag}: {} is given twice{}; leave one out",
            path.display(),
            match before.filter(|before| *before != path) {
                Some(before) => format!(", first as {}", before.display()),
                None => String::new(),
            }
        );
    }
    Ok(())
}
