//! Paths that a run has recorded. They are relative to the directory in which it was started, and
//! may be opened from another one.

use anyhow::{Context, Result, bail};
use models::ModelSource;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What the run in `dir` recorded as `text`: the path as it is if it exists, else the same path
/// below a directory that holds the run, else `text`, which may be a hub id.
pub fn find_recorded(dir: &Path, text: &str) -> String {
    if Path::new(text).exists() || Path::new(text).is_absolute() {
        return text.to_string();
    }
    let above = std::path::absolute(dir).unwrap_or_else(|_| dir.to_path_buf());
    let found = above.ancestors().map(|dir| dir.join(text));
    let Some(found) = found.into_iter().find(|path| path.exists()) else {
        return text.to_string();
    };
    let found = found.to_string_lossy().into_owned();
    run::say!(
        "{}: {text} is not below {}; using {found}",
        dir.display(),
        here().display()
    );
    found
}

/// The base that the run in `dir` was trained on, by its run.json.
///
/// # Errors
/// If run.json names none, or it is a path that does not exist.
pub fn base_of_run(dir: &Path, info: &Value) -> Result<String> {
    let shown = dir.display();
    let base = info.get("base").and_then(Value::as_str);
    let base = base.with_context(|| format!("{shown}/run.json does not name its base model"))?;
    let found = find_recorded(dir, base);
    if ModelSource::parse(&found).is_err() && !Path::new(&found).exists() {
        let place = match Path::new(base).is_absolute() {
            true => String::new(),
            false => format!(
                " below {} or a directory that holds the run",
                here().display()
            ),
        };
        bail!(
            "{shown} was trained on the base {base:?}, and there is none{place}; start from the \
             directory in which it was trained, or put the base or a link to it there"
        );
    }
    Ok(found)
}

fn here() -> PathBuf {
    std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."))
}
