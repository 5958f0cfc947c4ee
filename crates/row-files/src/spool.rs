//! A temporary copy of what a compressed file holds, for parquet, which is read from its end.

use crate::error::{Result, file_error};
use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

/// How many times the stored bytes the copy may have. Pages of parquet are compressed as a rule, so
/// the whole is seldom more than ten times as large as its gzip.
const MAX_RATIO: u64 = 30;

/// A copy that is no larger may have any ratio.
const ALWAYS_BYTES: u64 = 64 << 20;

/// Written at a time.
const CHUNK_BYTES: u64 = 4 << 20;

/// What is left free on the disk.
const RESERVE_BYTES: u64 = 32 << 20;

/// The bytes of `reader` in a file without a name in the directory of temporary files. `n_stored`
/// counts what it has read of the file.
///
/// Errors: the data is damaged, decompresses to more than [`MAX_RATIO`] times its size, or would
/// fill the disk.
pub(crate) fn spool(path: &Path, reader: &mut dyn Read, n_stored: &Cell<u64>) -> Result<File> {
    let fail = |e: io::Error| file_error(path, format_args!("cannot be read: {e}"));
    let dir = std::env::temp_dir();
    let unwritable = |e: io::Error| {
        let what = format!("cannot be unpacked into {}: {e}", dir.display());
        file_error(path, what)
    };
    require_space(path, &dir, 0)?;
    let mut file = tempfile::tempfile_in(&dir).map_err(unwritable)?;
    let (mut chunk, mut n_bytes) = (Vec::new(), 0);
    loop {
        chunk.clear();
        let n = (&mut *reader).take(CHUNK_BYTES).read_to_end(&mut chunk);
        let n = n.map_err(fail)? as u64;
        if n == 0 {
            return Ok(file);
        }
        n_bytes += n;
        if n_bytes > ALWAYS_BYTES && n_bytes / MAX_RATIO > n_stored.get() {
            let what = format!(
                "is compressed parquet of more than {MAX_RATIO} times its size; if that is meant, \
                 decompress the file first"
            );
            return Err(file_error(path, what));
        }
        require_space(path, &dir, n)?;
        file.write_all(&chunk).map_err(unwritable)?;
    }
}

/// Fails if `dir` has no room for so many bytes more. Where that is unknown, writing will tell.
fn require_space(path: &Path, dir: &Path, n_bytes: u64) -> Result<()> {
    match run::free_space_bytes(dir) {
        Ok(free) if free < n_bytes + RESERVE_BYTES => {
            let (dir, free) = (dir.display(), free / 1_000_000);
            let what = format!(
                "is compressed parquet, which is unpacked into {dir}, where {free} MB are left; \
                 decompress the file, or set TMPDIR to a directory with more room"
            );
            Err(file_error(path, what))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}
