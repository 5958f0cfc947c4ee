//! What a run reads, known by its content: one that goes on from a checkpoint needs what it began with.

use anyhow::{Context, Result, bail};
use run::Run;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Records the data file (`path`, `sha256`) with `counts` under `data`. The place in the data is a number of rows.
pub fn record_data(run: &mut Run, path: &Path, mut counts: Value) -> Result<()> {
    let hash = run::file_hash(path)?;
    let before = run.recorded("data").map(|data| &data["sha256"]);
    refuse_another(run, before, &hash, &path.to_string_lossy())?;
    counts["path"] = path.to_string_lossy().into();
    counts["sha256"] = hash.into();
    run.record("data", counts)
}

/// Records the SHA-256 of every other file that the results depend on, under `inputs`: files, and the files of folders.
pub fn record_inputs(run: &mut Run, paths: &[&Path]) -> Result<()> {
    let before = run.recorded("inputs").cloned().unwrap_or_default();
    let mut now = Map::new();
    for path in paths {
        for file in files(path)? {
            let (name, hash) = (file.to_string_lossy(), run::file_hash(&file)?);
            refuse_another(run, before.get(&*name), &hash, &name)?;
            now.insert(name.into_owned(), hash.into());
        }
    }
    run.record("inputs", now.into())
}

/// Records `key` of the thing called `name`.
pub(crate) fn same(run: &mut Run, key: &str, value: &str, name: &str) -> Result<()> {
    refuse_another(run, run.recorded(key), value, name)?;
    run.record(key, value.into())
}

fn refuse_another(run: &Run, before: Option<&Value>, now: &str, name: &str) -> Result<()> {
    let before = before.and_then(Value::as_str);
    if before.is_some_and(|before| before != now) {
        bail!(
            "{name} has changed since {} began; resume with what it began with, or begin a new run",
            run.dir().display()
        );
    }
    Ok(())
}

/// The file, or the files of the folder.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let context = || format!("cannot read {}", path.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).with_context(context)? {
        let file = entry.with_context(context)?.path();
        if file.is_file() {
            files.push(file);
        }
    }
    Ok(files)
}
