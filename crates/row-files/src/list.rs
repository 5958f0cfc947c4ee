//! The data files that a path of the settings names: itself, the files of a directory, the matches
//! of a pattern.

use crate::error::{Error, Result, file_error};
use std::path::{Path, PathBuf};

/// The endings of files of rows.
pub(crate) const ENDINGS: [&str; 3] = ["json", "jsonl", "txt"];

/// The data files that a path names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DataFileList {
    /// In the order in which they are read.
    pub files: Vec<PathBuf>,
    /// What was left out and why, a line each.
    pub notes: Vec<String>,
}

/// The data files that a path of the settings names, in order.
///
/// Errors: a pattern that is malformed or matches nothing.
pub fn data_files(path: &Path) -> Result<DataFileList> {
    let files = match path.to_str() {
        Some(pattern) if !path.exists() && pattern.contains(['*', '?', '[']) => {
            matches(path, pattern)?
        }
        _ => vec![path.to_path_buf()],
    };
    let notes = Vec::new();
    Ok(DataFileList { files, notes })
}

fn matches(path: &Path, pattern: &str) -> Result<Vec<PathBuf>> {
    let no_pattern = |e| file_error(path, format_args!("is not a pattern: {e}"));
    let found = glob::glob(pattern).map_err(no_pattern)?;
    let files: Vec<PathBuf> = found
        .collect::<std::result::Result<_, _>>()
        .map_err(|e| Error(e.to_string()))?;
    match files.is_empty() {
        true => Err(file_error(path, "matches no file")),
        false => Ok(files),
    }
}
