//! The bytes of a file as they are stored: counted, hashed, and their progress shown.

use crate::error::{Result, file_error, unreadable};
use crate::waiting::Waiting;
use run::{HashingReader, Progress};
use std::cell::Cell;
use std::fs::{File, Metadata};
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

/// Reading a larger file shows its progress.
const PROGRESS_FROM_BYTES: u64 = 200_000_000;

/// An open file that is read from its start to its end.
pub(crate) struct Stored {
    file: HashingReader<File>,
    metadata: Metadata,
    n_bytes: Rc<Cell<u64>>,
    progress: Option<Progress>,
    /// Until the first bytes come
    waiting: Option<Waiting>,
}

impl Stored {
    /// The file from its start.
    pub fn of(path: &Path) -> Result<BufReader<Self>> {
        if path.is_dir() {
            return Err(file_error(path, "is a directory, not a data file"));
        }
        let stored = Self::open(path).map_err(|e| unreadable(path, &e))?;
        Ok(BufReader::with_capacity(1 << 16, stored))
    }

    fn open(path: &Path) -> io::Result<Self> {
        let waiting = Waiting::for_data(path);
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let n_bytes = metadata.len();
        let name = path.file_name().unwrap_or(path.as_os_str());
        let what = format!("reading {}, MB:", name.display());
        let progress = || Progress::new(&what, megabytes(n_bytes));
        Ok(Self {
            file: HashingReader::new(file),
            metadata,
            n_bytes: Rc::default(),
            progress: (n_bytes > PROGRESS_FROM_BYTES).then(progress),
            waiting,
        })
    }

    /// How many bytes were read so far; it goes on counting.
    pub fn n_bytes(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.n_bytes)
    }

    /// What the file was when it was opened. Errors: a pipe, which has no end to begin from.
    pub fn seekable(&self, path: &Path) -> Result<Metadata> {
        match self.metadata.is_file() {
            true => Ok(self.metadata.clone()),
            false => Err(file_error(
                path,
                "is parquet in a pipe, but parquet is read from its end; write it into a file",
            )),
        }
    }

    /// Errors: the file is not the one of `before`, or was not read to its end.
    pub fn check_unchanged(&self, path: &Path, before: &Metadata) -> Result<()> {
        let now = std::fs::metadata(path).map_err(|e| unreadable(path, &e))?;
        let is_same = now.len() == before.len() && now.modified().ok() == before.modified().ok();
        match is_same && self.n_bytes.get() == now.len() {
            true => Ok(()),
            false => Err(file_error(path, "changed while it was read; read it again")),
        }
    }

    /// SHA-256 of the bytes that were read, in hexadecimal, and their number.
    pub fn finish(mut self) -> (String, u64) {
        if let Some(progress) = &mut self.progress {
            progress.finish("");
        }
        (self.file.finish(), self.n_bytes.get())
    }
}

impl Read for Stored {
    /// Fills the buffer as far as there are bytes: a pipe gives few at a time, and what the file is
    /// must be seen at once.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Self { file, waiting, .. } = self;
        let n = fill(file, buffer, || *waiting = None)?;
        self.n_bytes.set(self.n_bytes.get() + n as u64);
        if let Some(progress) = &mut self.progress {
            progress.update(megabytes(self.n_bytes.get()), 0, "");
        }
        Ok(n)
    }
}

/// Reads until the buffer is full or the reader at its end. `came`: after every part.
fn fill(reader: &mut impl Read, buffer: &mut [u8], mut came: impl FnMut()) -> io::Result<usize> {
    let mut n = 0;
    while n < buffer.len() {
        let read = reader.read(&mut buffer[n..]);
        came();
        match read {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            // a file that cannot be read here cannot be read at the next call either
            Err(_) if n > 0 => break,
            Err(e) => return Err(e),
        }
    }
    Ok(n)
}

fn megabytes(n_bytes: u64) -> u64 {
    n_bytes / 1_000_000
}
