//! The files that a run's rows come from, by content.

use std::path::PathBuf;

/// Files that were read, and the SHA-256 of their bytes as they were read, in hexadecimal.
#[derive(Clone, Debug, PartialEq)]
pub struct DataFile {
    /// Their name in the settings; of several sources, the names.
    pub path: PathBuf,
    /// Of the bytes that the rows come from, even if the file has changed since or was a pipe. Of
    /// several files: of the lines of their hashes.
    pub sha256: String,
    /// Each file with its hash.
    pub files: Vec<(PathBuf, String)>,
}

/// The data files of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct DataFiles {
    /// Of the training rows
    pub train: DataFile,
    /// Of the held-out rows, if they have one of their own
    pub eval: Option<DataFile>,
    /// The keys of the training prompts, ascending, each once
    pub prompts: Vec<u64>,
}
