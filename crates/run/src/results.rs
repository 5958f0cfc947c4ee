//! The results in a run directory (`adapter/`, `best/`, `model/`, `reward/`), and the copy of them
//! that each checkpoint keeps.
//!
//! A result may be newer than the newest checkpoint: an evaluation that was the best so far, in a
//! process that was killed. The resumed run may never be there again. So a checkpoint holds the
//! results of its step as hard links `<result>.<file>`, which take no room until the result is
//! replaced, and a resumed run begins with those.

use crate::files::{TEMPORARY, atomic_dir};
use crate::say::say;
use crate::sums::{SUMS, check_sums, names, write_sums};
use anyhow::{Context, Result};
use std::path::Path;

/// Results of the stages that later ones use.
pub(crate) const RESULTS: [&str; 4] = ["adapter", "best", "model", "reward"];

/// Replaces a result atomically: `write` fills a temporary directory, checksums are added, and it
/// is renamed into place.
pub(crate) fn replace(target: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    atomic_dir(target, |dir| {
        write(dir)?;
        write_sums(dir)
    })
}

/// Links the results of `run` into the checkpoint that is being written. Returns their names.
pub(crate) fn link(run: &Path, checkpoint: &Path) -> Result<Vec<String>> {
    let mut linked = Vec::new();
    for result in RESULTS.into_iter().filter(|name| run.join(name).is_dir()) {
        let from = run.join(result);
        for file in names(&from)?.iter().filter(|file| *file != SUMS) {
            put(
                &from.join(file),
                &checkpoint.join(format!("{result}.{file}")),
            )?;
        }
        linked.push(result.to_string());
    }
    Ok(linked)
}

/// Whether a file of a checkpoint belongs to a result.
pub(crate) fn is_linked(file: &str) -> bool {
    let first = file.split_once('.');
    first.is_some_and(|(result, rest)| RESULTS.contains(&result) && rest.contains('.'))
}

/// Makes the results of `run` those that the checkpoint `from` holds, by name. `None`: it is of an
/// older version, which linked none.
pub(crate) fn restore(run: &Path, from: &Path, linked: Option<&[String]>) -> Result<()> {
    for result in RESULTS {
        let target = run.join(result);
        match linked {
            None if target.is_dir() => say(format_args!(
                "{}: the checkpoint is of an older version; if the run was killed after a later \
                 step, this may be of that step until it is written again",
                target.display()
            )),
            None => {}
            Some(linked) if linked.iter().any(|name| name == result) => {
                let unchanged = same(from, &target, result)?;
                if !unchanged {
                    replace(&target, |dir| copy(from, dir, result))?;
                }
            }
            Some(_) if target.is_dir() => remove(&target)?,
            Some(_) => {}
        }
    }
    Ok(())
}

/// Fails if a result that a finished run keeps is damaged: its next checkpoint would link the
/// damaged bytes, and the checksums of that checkpoint would call them intact.
pub(crate) fn check(run: &Path) -> Result<()> {
    for result in RESULTS.map(|name| run.join(name)) {
        check_sums(&result)?;
    }
    Ok(())
}

/// The files of `result` in the checkpoint `from`, by their names in the result.
fn files_of(from: &Path, result: &str) -> Result<Vec<String>> {
    let prefix = format!("{result}.");
    let of = |name: &String| name.strip_prefix(&prefix).map(str::to_string);
    Ok(names(from)?.iter().filter_map(of).collect())
}

fn same(from: &Path, target: &Path, result: &str) -> Result<bool> {
    if !target.is_dir() {
        return Ok(false);
    }
    let files = files_of(from, result)?;
    let there = names(target)?;
    let read = |path: &Path| std::fs::read(path).ok();
    Ok(
        there.iter().filter(|name| *name != SUMS).count() == files.len()
            && crate::sums::damage(target)?.is_none()
            && files.iter().all(|file| {
                let (a, b) = (from.join(format!("{result}.{file}")), target.join(file));
                read(&a).is_some() && read(&a) == read(&b)
            }),
    )
}

fn copy(from: &Path, dir: &Path, result: &str) -> Result<()> {
    for file in files_of(from, result)? {
        put(&from.join(format!("{result}.{file}")), &dir.join(&file))?;
    }
    Ok(())
}

/// A hard link, or a copy where the file system has none.
fn put(from: &Path, to: &Path) -> Result<()> {
    if std::fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    let copied = std::fs::copy(from, to).map(|_| ());
    copied.with_context(|| format!("cannot copy {}", from.display()))
}

/// Renames first, so that a kill leaves no half of it under its name.
fn remove(target: &Path) -> Result<()> {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let aside = target.with_file_name(format!("{TEMPORARY}old-{name}"));
    std::fs::rename(target, &aside)
        .and_then(|()| std::fs::remove_dir_all(&aside))
        .with_context(|| format!("cannot delete {}", target.display()))
}
