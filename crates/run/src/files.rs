//! Atomic files and directories: written under a temporary name, synced, renamed into place.

use crate::command_line::command_line;
use crate::redact::redact;
use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::fs::{File, Metadata, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;

/// Prefix of temporary names. A crash may leave such a file; nothing reads it.
pub(crate) const TEMPORARY: &str = ".tmp-";

/// Writes a file atomically. A path that is not a regular file (a pipe, /dev/null, /dev/stdout) is
/// written to directly.
pub fn atomic_write(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let other = |m: Metadata| !m.is_file() && !m.is_dir();
        if path.starts_with("/dev") || path.metadata().is_ok_and(other) {
            return File::options().append(true).open(path)?.write_all(bytes);
        }
        let parent = parent(path);
        let mut file = tempfile::Builder::new()
            .prefix(TEMPORARY)
            .permissions(Permissions::from_mode(0o666)) // the umask applies, as to any file
            .tempfile_in(parent)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|e| e.error)?;
        sync_renamed(path);
        Ok(())
    };
    write()
        .map_err(|e| plain(&e, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// [`atomic_write`] of a report or of rows for others to read, without secrets.
pub fn write_text(path: &Path, text: &str) -> Result<()> {
    atomic_write(path, redact(text).as_bytes())
}

/// Whether a command may replace a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    Never,
    /// If `--force` was given
    WithForce(bool),
}

/// Fails if a command would replace a result: `path`, which `flag` gives, is a file or directory,
/// and `replace` does not allow it.
///
/// ```
/// use run::Replace;
/// let there = tempfile::NamedTempFile::new()?;
/// assert!(run::ensure_new(there.path(), "--out", Replace::WithForce(true)).is_ok());
/// let error = run::ensure_new(there.path(), "--out", Replace::Never).unwrap_err().to_string();
/// assert!(error.ends_with("exists; choose another --out"));
/// # Ok::<(), anyhow::Error>(())
/// ```
pub fn ensure_new(path: &Path, flag: &str, replace: Replace) -> Result<()> {
    let is_result = std::fs::metadata(path).is_ok_and(|found| found.is_file() || found.is_dir());
    let or = match replace {
        _ if !is_result => return Ok(()),
        Replace::WithForce(true) => return Ok(()),
        Replace::WithForce(false) => or_force(),
        Replace::Never => String::new(),
    };
    bail!("{} exists; choose another {flag}{or}", path.display())
}

/// The end of a message: how the same command replaces what it found.
pub fn or_force() -> String {
    match command_line() {
        Some(command) => format!(", or replace it with --force: {command} --force"),
        None => ", or replace it with --force".to_string(),
    }
}

/// An I/O error without the temporary name that tempfile adds.
pub(crate) fn plain(error: &std::io::Error, path: &Path) -> anyhow::Error {
    let parent = parent(path);
    if parent.exists() && !parent.is_dir() {
        return anyhow::anyhow!("{} is a file, not a directory", parent.display());
    }
    if !parent.is_dir() {
        return anyhow::anyhow!("no directory {}", parent.display());
    }
    let text = error.to_string();
    let cause = text
        .split_once(" at path ")
        .map_or(text.as_str(), |(cause, _)| cause);
    anyhow::Error::msg(cause.to_string())
}

/// Replaces directory `target` atomically: `write` fills a temporary directory, which is renamed.
///
/// On an error `target` is unchanged. An existing `target` is exchanged in one step where the file
/// system supports that.
pub(crate) fn atomic_dir(target: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let make = || {
        let aside = temporary_dir(parent(target))?;
        write(aside.path())?;
        sync_tree(aside.path())?;
        Ok(put_in_place(aside, target, &Renames::default())?)
    };
    make().map_err(|e: anyhow::Error| e.context(format!("cannot write {}", target.display())))
}

/// An empty directory with a temporary name in `parent`.
pub(crate) fn temporary_dir(parent: &Path) -> Result<TempDir> {
    tempfile::Builder::new()
        .prefix(TEMPORARY)
        .permissions(Permissions::from_mode(0o777))
        .tempdir_in(parent)
        .map_err(|e| plain(&e, &parent.join(TEMPORARY)))
        .with_context(|| format!("cannot write into {}", parent.display()))
}

type Rename = fn(&Path, &Path) -> std::io::Result<()>;

/// How the file system renames. Tests put failures in their place.
pub struct Renames {
    /// Gives a file or directory another path.
    pub rename: Rename,
    /// Exchanges two paths in one step, which not every file system can.
    pub exchange: Rename,
}

impl Default for Renames {
    /// As the file system does it.
    fn default() -> Self {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        Self {
            rename: |from, to| std::fs::rename(from, to),
            exchange: |a, b| Ok(renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE)?),
        }
    }
}

/// Puts the directory `aside` into the place of `target`, in the same folder.
///
/// # Errors
/// `target` is what it was, or the error says where that is.
pub fn put_in_place(aside: TempDir, target: &Path, by: &Renames) -> std::io::Result<()> {
    if !target.exists() {
        (by.rename)(aside.path(), target)?;
        let _ = aside.keep(); // renamed to `target`: nothing to delete
    } else if (by.exchange)(aside.path(), target).is_err() {
        // Without an exchange, `target` does not exist for a moment.
        let old = temporary_dir(parent(target)).map_err(std::io::Error::other)?;
        (by.rename)(target, old.path())?;
        if let Err(why) = (by.rename)(aside.path(), target) {
            // Dropped, `old` would delete the directory that was to be replaced.
            let old = old.keep();
            return Err(match (by.rename)(&old, target) {
                Ok(()) => why,
                Err(_) => std::io::Error::other(format!("{why}; it is in {}", old.display())),
            });
        }
        let _ = aside.keep();
    } // else `aside` now holds the old directory and deletes it on drop
    sync_renamed(target);
    Ok(())
}

/// Syncs the directory of a file that has just been renamed into place. The file is there, so an
/// error is only reported.
fn sync_renamed(path: &Path) {
    if let Err(why) = sync_dir(parent(path)) {
        crate::say!(
            "{} is written, but a power failure might undo it: the disk did not confirm it ({why})",
            path.display()
        );
    }
}

/// Syncs every file and directory under `dir`.
pub(crate) fn sync_tree(dir: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            File::open(&path)?.sync_all()?;
        }
    }
    sync_dir(dir)
}

pub(crate) fn sync_dir(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The directory that contains `path`; `.` for a bare name.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// SHA-256 of a file, in hexadecimal.
pub fn file_hash(path: &Path) -> Result<String> {
    let hash = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                n => hash.update(&buffer[..n]),
            }
        }
        Ok(hex(&hash.finalize()))
    };
    hash().with_context(|| format!("cannot read {}", path.display()))
}

/// Reads from `R` and hashes what was read, so that the hash is of those very bytes.
///
/// ```
/// use std::io::Read;
/// let mut reader = run::HashingReader::new(&b"abc"[..]);
/// reader.read_to_end(&mut Vec::new())?;
/// assert_eq!(reader.finish(), run::hash(b"abc"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct HashingReader<R> {
    inner: R,
    hash: Sha256,
}

impl<R: Read> HashingReader<R> {
    /// Nothing is read yet.
    pub fn new(inner: R) -> Self {
        let hash = Sha256::new();
        Self { inner, hash }
    }

    /// SHA-256 of the bytes that were read, in hexadecimal.
    pub fn finish(self) -> String {
        hex(&self.hash.finalize())
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hash.update(&buffer[..n]);
        Ok(n)
    }
}

/// SHA-256 of `bytes`, in hexadecimal.
pub fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Free bytes on the file system of `dir` or of its nearest existing parent.
pub fn free_space_bytes(dir: &Path) -> Result<u64> {
    let existing = dir
        .ancestors()
        .find(|p| p.exists())
        .unwrap_or(Path::new("."));
    let stat = rustix::fs::statvfs(existing)
        .with_context(|| format!("cannot read the free space of {}", existing.display()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Fails if the file system of `dir` has less than `bytes` free.
pub fn require_space(dir: &Path, bytes: u64) -> Result<()> {
    let free = free_space_bytes(dir)?;
    if free < bytes {
        let mb = |bytes: u64| bytes.div_ceil(1_000_000);
        bail!(
            "{}: needs {} MB, and {} MB are free",
            dir.display(),
            mb(bytes),
            free / 1_000_000
        );
    }
    Ok(())
}
