//! The files that were read.

use crate::report::FileFacts;
use anyhow::{Result, bail};
use data::FileRows;

/// Fails if no row was read.
pub(crate) fn require_rows(files: &[FileRows]) -> Result<()> {
    if files.iter().any(|file| file.n_rows > 0) {
        return Ok(());
    }
    let mut errors = files.iter().filter_map(|file| file.error.as_deref());
    let first = errors.next().unwrap_or("there are no files");
    match errors.count() {
        0 => bail!("{first}"),
        n => bail!("none of {} files can be read: {first}", n + 1),
    }
}

pub(crate) fn file_facts(file: &FileRows) -> FileFacts {
    let found = row_files::container(&file.path);
    let found = found.as_ref();
    let is_pipe = std::fs::metadata(&file.path).is_ok_and(|m| !m.is_file());
    let pipe = is_pipe.then(|| "a pipe".to_string());
    FileFacts {
        path: file.path.display().to_string(),
        container: found.map(|container| container.what.to_string()).or(pipe),
        compression: found
            .and_then(|container| container.compression)
            .map(str::to_string),
        bytes: found.map(|container| container.n_bytes),
        rows: file.n_rows as u64,
        error: file.error.clone(),
    }
}
