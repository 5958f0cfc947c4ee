//! JSONL files that grow while a program runs. One process writes at a time. If it is killed, the
//! incomplete last line is removed when the file is opened again.

use anyhow::{Context, Result, bail};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use strict_json::{StrictValue, problem_in_line};

/// An open JSONL file to which complete lines are appended. Nobody else can open it meanwhile.
pub struct Appender {
    file: File,
    path: PathBuf,
    /// Bytes of the complete lines and whether the last lacks its newline: how the file was found,
    /// until the first line is appended
    found: Option<(u64, bool)>,
}

impl Appender {
    /// Opens or creates `path` and returns its complete lines. What is there stays as it is until
    /// a line is appended, since the command may still be refused.
    ///
    /// An incomplete last line (the writer was killed) is removed from the file then.
    ///
    /// # Errors
    /// If another process has it open, or any other line cannot be parsed.
    pub fn open<T: DeserializeOwned>(path: &Path) -> Result<(Self, Vec<T>)> {
        if path.is_dir() {
            bail!("{} is a directory; give a file", path.display());
        }
        let failed = || format!("cannot write {}", path.display());
        let options = OpenOptions::new().create(true).append(true).clone();
        let file = options.open(path).with_context(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!(
                "{} is being written by another process; wait for it, or choose another file",
                path.display()
            ),
            Err(TryLockError::Error(e)) => return Err(e).with_context(failed),
        }
        // Read under the lock, so that no line of another process is missed.
        let rows = read_torn::<T>(path)?;
        rows.report(path, "removed");
        let appender = Self {
            file,
            path: path.to_path_buf(),
            found: Some((rows.complete_bytes as u64, rows.lacks_newline)),
        };
        Ok((appender, rows.items))
    }

    /// Appends one line in one write, without secrets, so that a reader never sees half of it
    /// unless the machine stops.
    pub fn push(&mut self, row: &impl Serialize) -> Result<()> {
        if let Some((bytes, lacks_newline)) = self.found.take() {
            let cut = self.file.set_len(bytes);
            cut.with_context(|| format!("cannot write {}", self.path.display()))?;
            if lacks_newline {
                self.write(b"\n")?;
            }
        }
        let line = serde_json::to_string(row)?;
        self.write(format!("{}\n", run::redact(&line)).as_bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all(bytes)
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}

struct Torn<T> {
    items: Vec<T>,
    /// Bytes of the complete lines.
    complete_bytes: usize,
    /// The last complete line has no newline.
    lacks_newline: bool,
    /// The incomplete last line begins here.
    torn_line: Option<usize>,
}

impl<T> Torn<T> {
    fn report(&self, path: &Path, what: &str) {
        if let Some(line) = self.torn_line {
            run::say!(
                "{} line {line} is incomplete (its writer was killed) and is {what}",
                path.display()
            );
        }
    }
}

/// Reads a file of [`Appender`] without changing it. A missing file has no rows. An incomplete last
/// line is left out, and said so.
pub fn read_appended<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let rows = read_torn(path)?;
    rows.report(path, "left out");
    Ok(rows.items)
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
        torn_line: None,
    };
    for (i, line) in bytes.split_inclusive(|b| *b == b'\n').enumerate() {
        let ends = line.last() == Some(&b'\n');
        if !line.trim_ascii().is_empty() {
            match serde_json::from_slice(line).map(|StrictValue(row)| row) {
                Ok(row) => torn.items.push(typed(path, i + 1, row)?),
                // Only an incomplete line was ours; a file of another kind must not be changed.
                Err(e) if !ends && e.is_eof() => {
                    torn.torn_line = Some(i + 1);
                    break;
                }
                Err(e) => bail!("{} line {}: {}", path.display(), i + 1, problem_in_line(&e)),
            }
        }
        torn.complete_bytes += line.len();
        torn.lacks_newline = !ends;
    }
    Ok(torn)
}

/// All rows of a complete JSONL file. An error names the line.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(i, line)| match serde_json::from_str(line) {
            Ok(StrictValue(row)) => typed(path, i + 1, row),
            Err(e) => bail!("{} line {}: {}", path.display(), i + 1, problem_in_line(&e)),
        })
        .collect()
}

fn typed<T: DeserializeOwned>(path: &Path, number: usize, row: Value) -> Result<T> {
    serde_json::from_value(row).with_context(|| format!("{} line {number}", path.display()))
}

/// `rows` as JSONL text.
pub fn to_text(rows: &[impl Serialize]) -> Result<String> {
    let mut text = String::new();
    for row in rows {
        text.push_str(&serde_json::to_string(row)?);
        text.push('\n');
    }
    Ok(text)
}
