//! JSONL files that grow while a program runs and survive its being killed: a torn last line is cut off on opening.

use anyhow::{Context, Result, bail};
use serde::{Serialize, de::DeserializeOwned};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// An open JSONL file to which whole lines are added.
pub struct Appender {
    file: File,
    path: PathBuf,
}

impl Appender {
    /// Opens or creates `path` and returns its complete lines. A last line that stops in the middle (the writer was
    /// killed) is removed from the file; any other line that cannot be read is an error that names it.
    pub fn open<T: DeserializeOwned>(path: &Path) -> Result<(Self, Vec<T>)> {
        let rows = read_torn::<T>(path)?;
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        file.set_len(rows.complete_bytes as u64)
            .with_context(|| format!("cannot write {}", path.display()))?;
        let mut appender = Self {
            file,
            path: path.to_path_buf(),
        };
        if rows.lacks_newline {
            appender.write(b"\n")?;
        }
        Ok((appender, rows.items))
    }

    /// Adds one line in one write, so that a reader never sees half of it unless the machine stops in between.
    pub fn push(&mut self, row: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(row)?;
        line.push(b'\n');
        self.write(&line)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all(bytes)
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}

struct Torn<T> {
    items: Vec<T>,
    /// Bytes up to the end of the last complete line.
    complete_bytes: usize,
    /// The last complete line has no newline yet.
    lacks_newline: bool,
}

/// Reads what [`Appender`] wrote, without changing the file. A missing file has no rows.
pub fn read_appended<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    Ok(read_torn(path)?.items)
}

fn read_torn<T: DeserializeOwned>(path: &Path) -> Result<Torn<T>> {
    if path.is_dir() {
        bail!("{} is a directory; give a file", path.display());
    }
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(e).with_context(|| format!("cannot read {}", path.display())),
    };
    let mut torn = Torn {
        items: Vec::new(),
        complete_bytes: 0,
        lacks_newline: false,
    };
    for (i, line) in bytes.split_inclusive(|b| *b == b'\n').enumerate() {
        let ends = line.last() == Some(&b'\n');
        if !line.trim_ascii().is_empty() {
            match serde_json::from_slice(line) {
                Ok(item) => torn.items.push(item),
                // only a line that stops in the middle is one of ours that was torn; a file of another kind stays whole
                Err(e) if !ends && e.is_eof() => break,
                Err(e) => bail!("{} line {}: {e}", path.display(), i + 1),
            }
        }
        torn.complete_bytes += line.len();
        torn.lacks_newline = !ends;
    }
    Ok(torn)
}

/// All rows of a finished JSONL file; an error names the line.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(i, line)| {
            serde_json::from_str(line).with_context(|| format!("{} line {}", path.display(), i + 1))
        })
        .collect()
}

/// JSONL text of `rows`.
pub fn to_text(rows: &[impl Serialize]) -> Result<String> {
    let mut text = String::new();
    for row in rows {
        text.push_str(&serde_json::to_string(row)?);
        text.push('\n');
    }
    Ok(text)
}
