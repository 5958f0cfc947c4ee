//! The hashes of the files that something is read from. They are taken before the files are read
//! and compared afterwards, so that they are of what was read.

use crate::files::file_hash;
use crate::sums::SUMS;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Files and their SHA-256, in hexadecimal, sorted by path.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FileHashes {
    dir: PathBuf,
    files: BTreeMap<PathBuf, String>,
}

impl FileHashes {
    /// Of the files in a directory. Its checksums are left out: they say nothing that the files do
    /// not.
    pub fn of_dir(dir: &Path) -> Result<Self> {
        let context = || format!("cannot read {}", dir.display());
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(dir).with_context(context)? {
            let file = entry.with_context(context)?.path();
            if file.is_file() && !file.ends_with(SUMS) {
                let hash = file_hash(&file)?;
                files.insert(file, hash);
            }
        }
        let dir = dir.to_path_buf();
        Ok(Self { dir, files })
    }

    /// What `read` returns, and the hashes of the files in `dir` that it read.
    ///
    /// # Errors
    /// If a file changed meanwhile, appeared or was deleted.
    pub fn of_what_is_read<T>(dir: &Path, read: impl FnOnce() -> Result<T>) -> Result<(T, Self)> {
        let before = Self::of_dir(dir)?;
        let read = read()?;
        before.require_unchanged()?;
        Ok((read, before))
    }

    /// Fails if the directory has other files or contents now; the error names the first one.
    pub fn require_unchanged(&self) -> Result<()> {
        let now = Self::of_dir(&self.dir)?;
        let mut paths = self.files.keys().chain(now.files.keys());
        match paths.find(|path| self.files.get(*path) != now.files.get(*path)) {
            Some(path) => bail!("{} changed while it was read; run again", path.display()),
            None => Ok(()),
        }
    }

    /// The files with their hashes.
    pub fn iter(&self) -> impl Iterator<Item = (&Path, &str)> {
        let files = self.files.iter();
        files.map(|(path, hash)| (path.as_path(), hash.as_str()))
    }
}
