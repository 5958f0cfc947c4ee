//! The bytes of a file as they are stored: counted, hashed, and their progress shown.

use crate::error::{Result, file_error, unreadable};
use run::{HashingReader, Progress};
use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

/// Reading a larger file shows its progress.
const PROGRESS_FROM_BYTES: u64 = 200_000_000;

/// An open file that is read from its start to its end.
pub(crate) struct Stored {
    file: HashingReader<File>,
    n_bytes: Rc<Cell<u64>>,
    progress: Option<Progress>,
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
        let file = File::open(path)?;
        let n_bytes = file.metadata()?.len();
        let name = path.file_name().unwrap_or(path.as_os_str());
        let what = format!("reading {}, MB:", name.display());
        let progress = || Progress::new(&what, megabytes(n_bytes));
        Ok(Self {
            file: HashingReader::new(file),
            n_bytes: Rc::default(),
            progress: (n_bytes > PROGRESS_FROM_BYTES).then(progress),
        })
    }

    /// How many bytes were read so far; it goes on counting.
    pub fn n_bytes(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.n_bytes)
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
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.n_bytes.set(self.n_bytes.get() + n as u64);
        if let Some(progress) = &mut self.progress {
            progress.update(megabytes(self.n_bytes.get()), 0, "");
        }
        Ok(n)
    }
}

fn megabytes(n_bytes: u64) -> u64 {
    n_bytes / 1_000_000
}
