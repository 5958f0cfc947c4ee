//! Files and directories that are there whole or not at all: written aside, synced, renamed into place.

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::fs::{File, Metadata, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;

/// What begins the names of things that are being written; a crash may leave one, and nothing reads it.
pub(crate) const TEMPORARY: &str = ".tmp-";

/// Writes a file so that it is there whole or not at all. What is no file (a pipe, /dev/null, /dev/stdout) is written to and stays.
pub fn atomic_write(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let other = |m: Metadata| !m.is_file() && !m.is_dir();
        if path.starts_with("/dev") || path.metadata().is_ok_and(other) {
            return File::options().append(true).open(path)?.write_all(bytes);
        }
        let parent = parent(path);
        let mut file = tempfile::Builder::new()
            .prefix(TEMPORARY)
            .permissions(Permissions::from_mode(0o666)) // less the umask, as for any other file
            .tempfile_in(parent)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|e| e.error)?;
        sync_dir(parent)
    };
    write()
        .map_err(|e| plain(&e, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// An io error without the temporary name that tempfile adds to it.
fn plain(error: &std::io::Error, path: &Path) -> anyhow::Error {
    if !parent(path).is_dir() {
        return anyhow::anyhow!("no directory {}", parent(path).display());
    }
    let text = error.to_string();
    let cause = text
        .split_once(" at path ")
        .map_or(text.as_str(), |(cause, _)| cause);
    anyhow::Error::msg(cause.to_string())
}

/// Makes `target` a directory with what `write` puts into the temporary directory it is given. On an error `target` is
/// what it was before. An older `target` is swapped out in one step where the file system can do that.
pub(crate) fn atomic_dir(target: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let make = || {
        let aside = temporary_dir(parent(target))?;
        write(aside.path())?;
        sync_tree(aside.path())?;
        Ok(put_in_place(aside, target)?)
    };
    make().map_err(|e: anyhow::Error| e.context(format!("cannot write {}", target.display())))
}

/// An empty directory beside the one that will be made.
pub(crate) fn temporary_dir(parent: &Path) -> Result<TempDir> {
    tempfile::Builder::new()
        .prefix(TEMPORARY)
        .permissions(Permissions::from_mode(0o777))
        .tempdir_in(parent)
        .map_err(|e| plain(&e, &parent.join(TEMPORARY)))
        .with_context(|| format!("cannot write into {}", parent.display()))
}

fn put_in_place(aside: TempDir, target: &Path) -> std::io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    if !target.exists() {
        std::fs::rename(aside.path(), target)?;
        let _ = aside.keep(); // it has its name now; there is nothing left to delete
    } else if renameat_with(CWD, aside.path(), CWD, target, RenameFlags::EXCHANGE).is_err() {
        // A file system without exchange: for a moment there is no `target`.
        let old = temporary_dir(parent(target)).map_err(std::io::Error::other)?;
        std::fs::rename(target, old.path())?;
        std::fs::rename(aside.path(), target)?;
        let _ = aside.keep();
    } // else `aside` holds the old directory, and dropping it deletes that
    sync_dir(parent(target))
}

/// Flushes every file and directory under `dir` to the disk.
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

/// The directory that holds `path`; `.` for a bare name.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// SHA-256 of a file, hex.
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

/// SHA-256, hex.
pub fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Free space, bytes, of the file system that holds `dir` or its nearest existing parent.
pub fn free_space_bytes(dir: &Path) -> Result<u64> {
    let existing = dir
        .ancestors()
        .find(|p| p.exists())
        .unwrap_or(Path::new("."));
    let stat = rustix::fs::statvfs(existing)
        .with_context(|| format!("cannot ask for the free space of {}", existing.display()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Refuses, before work begins, to write `bytes` where there is no room for them.
pub fn require_space(dir: &Path, bytes: u64) -> Result<()> {
    let free = free_space_bytes(dir)?;
    if free < bytes {
        let mb = |bytes: u64| bytes.div_ceil(1_000_000);
        bail!(
            "{}: {} MB are needed and {} MB are free",
            dir.display(),
            mb(bytes),
            free / 1_000_000
        );
    }
    Ok(())
}
