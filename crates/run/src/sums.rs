//! `SHA256SUMS`: the checksums of a directory's files, which `sha256sum -c` reads.

use crate::files::{atomic_write, file_hash};
use crate::say::say;
use anyhow::{Context, Result, bail};
use std::fmt::Write;
use std::path::Path;

pub(crate) const SUMS: &str = "SHA256SUMS";

/// Writes the checksums of all files in `dir`, which has no subdirectories.
pub fn write_sums(dir: &Path) -> Result<()> {
    let mut sums = String::new();
    for name in names(dir)?.iter().filter(|name| *name != SUMS) {
        let hash = file_hash(&dir.join(name))?;
        writeln!(sums, "{hash}  {name}").expect("writing to a String");
    }
    atomic_write(&dir.join(SUMS), sums.as_bytes())
}

/// Checks the files of a directory against its SHA256SUMS. False: it has none.
///
/// # Errors
/// If a file does not match; the error names it.
pub fn check_sums(dir: &Path) -> Result<bool> {
    if !dir.join(SUMS).exists() {
        return Ok(false);
    }
    match damage(dir)? {
        None => Ok(true),
        Some(what) => bail!(
            "{} is damaged: {what}; restore it, or make it again (delete {SUMS} if you changed it \
             on purpose)",
            dir.display()
        ),
    }
}

/// [`check_sums`] for a result of a stage, which says where it has none.
pub fn check_result(dir: &Path) -> Result<()> {
    if !check_sums(dir)? {
        say(format_args!(
            "{} has no {SUMS} (an older version or another program wrote it); damage to it would \
             not be noticed",
            dir.display()
        ));
    }
    Ok(())
}

/// The first file that does not match the checksums, if any.
pub(crate) fn damage(dir: &Path) -> Result<Option<String>> {
    let Ok(sums) = std::fs::read_to_string(dir.join(SUMS)) else {
        return Ok(Some(format!("{SUMS} cannot be read")));
    };
    if !sums.ends_with('\n') {
        return Ok(Some(format!("{SUMS} is truncated")));
    }
    for line in sums.lines() {
        let Some((hash, name)) = line.split_once("  ").or(line.split_once(" *")) else {
            return Ok(Some(format!("{SUMS} is truncated")));
        };
        match file_hash(&dir.join(name)) {
            Ok(found) if found == hash => {}
            Ok(_) => return Ok(Some(format!("{name} does not match {SUMS}"))),
            Err(_) => return Ok(Some(format!("{name} cannot be read"))),
        }
    }
    Ok(None)
}

/// How many files the checksums list.
pub(crate) fn n_listed(dir: &Path) -> usize {
    std::fs::read_to_string(dir.join(SUMS)).map_or(0, |sums| sums.lines().count())
}

/// Names of the entries of a directory, sorted.
pub(crate) fn names(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}
