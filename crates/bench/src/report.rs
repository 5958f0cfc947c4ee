//! Writing figures to a JSON file, with the machine, the number of threads and the commit.

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// `<out>/<date>-<commit><suffix>.json`.
pub(crate) fn write(
    out: &Path,
    suffix: &str,
    mut all: Map<String, Value>,
    threads: usize,
) -> Result<PathBuf> {
    all.insert("threads".into(), json!(threads));
    all.insert("cpu".into(), json!(run::cpu_model()));
    let commit = run::git_commit(&std::env::current_dir()?).unwrap_or_else(|| "unknown".into());
    all.insert("commit".into(), json!(commit));
    let date = run::rfc3339(std::time::SystemTime::now());
    let short = &commit[..commit.len().min(7)];
    std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    let file = out.join(format!("{}-{short}{suffix}.json", &date[..10]));
    let text = serde_json::to_string_pretty(&all)? + "\n";
    run::atomic_write(&file, text.as_bytes())?;
    Ok(file)
}

/// `sample 3.20 s, update 7.52 s`
pub(crate) fn phases(of: &std::collections::BTreeMap<String, f64>) -> String {
    let shown = of.iter().filter(|(_, secs)| **secs > 0.001);
    let shown = shown.map(|(phase, secs)| {
        let phase = phase.trim_start_matches("time/");
        format!("{phase} {secs:.2} s")
    });
    shown.collect::<Vec<_>>().join(", ")
}
