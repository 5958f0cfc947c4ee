//! Paths of runs, and paths that a run has recorded. These are relative to the directory in which
//! it was started, and may be opened from another one.

use std::path::{Path, PathBuf};

/// What the run or adapter in `dir` recorded as `text`: the path as it is if it exists, else the
/// same path below `dir` or a directory that holds it, else `text`, which may be a hub id.
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

/// The run directory and the adapter that `dir` names: a run and its `adapter/`, or an adapter
/// inside a run, such as `runs/esrl/best`.
pub fn run_and_adapter(dir: &Path) -> (&Path, PathBuf) {
    match dir.parent() {
        Some(run)
            if dir.join("adapter_config.json").is_file() && run.join("run.json").is_file() =>
        {
            (run, dir.to_path_buf())
        }
        _ => (dir, dir.join("adapter")),
    }
}

fn here() -> PathBuf {
    std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."))
}
