//! Comparisons of several seeds, as `wick table` and `wick plot` read them. They must have the same
//! settings and different runs; otherwise the mean is meaningless and the spread too small.

use crate::given_once::ensure_each_once;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What must be the same: words for it, and its place in compare.json.
const SETTINGS: [(&str, &str); 4] = [
    ("prompts", "/prompts"),
    ("temperature", "/temperature"),
    ("max_new_tokens", "/max_new_tokens"),
    ("answers too long for the context", "/prompts_left_out"),
];

/// The rows of each directory's compare.json. A run that several of them have, such as the one that
/// all seeds started from, is in the first of them only.
///
/// # Errors
/// If they differ in their prompts, sampling or use of a reward model, or one has no run that those
/// before it have not.
pub(crate) fn seeds(dirs: &[PathBuf]) -> Result<Vec<Vec<Value>>> {
    ensure_each_once("--compared", dirs)?;
    let reports: Vec<Value> = dirs.iter().map(|dir| report(dir)).collect::<Result<_>>()?;
    for (dir, report) in dirs.iter().zip(&reports).skip(1) {
        if let Some(what) = difference(&reports[0], report) {
            bail!(
                "{} and {} are not seeds of one comparison: {what}",
                dirs[0].display(),
                dir.display()
            );
        }
    }
    let mut seen: BTreeMap<String, &Path> = BTreeMap::new();
    let mut all = Vec::with_capacity(dirs.len());
    for (dir, report) in dirs.iter().zip(&reports) {
        let mut new = Vec::new();
        let mut known = Vec::new();
        for row in report["rows"].as_array().into_iter().flatten() {
            match identity(row).and_then(|id| seen.insert(id, dir)) {
                None => new.push(row.clone()),
                Some(before) => known.push((row, before)),
            }
        }
        for (row, before) in known {
            let (name, shown) = (row["name"].as_str().unwrap_or_default(), dir.display());
            let before = before.display();
            ensure!(
                !new.is_empty(),
                "{shown} has no other runs than {before}: {name} is the same policy in both, which \
                 is no second seed"
            );
            run::say!("{name} is the same policy in {before} and {shown}; it is counted once");
        }
        all.push(new);
    }
    Ok(all)
}

/// A directory's compare.json.
fn report(dir: &Path) -> Result<Value> {
    ensure!(
        dir.is_dir(),
        "{} does not exist; give a directory that `wick compare` wrote (its --out)",
        dir.display()
    );
    let file = dir.join("compare.json");
    let text = std::fs::read(&file)
        .with_context(|| format!("cannot read {}; run `wick compare` first", file.display()))?;
    let report: Value =
        serde_json::from_slice(&text).with_context(|| format!("{} is damaged", file.display()))?;
    let rows = report["rows"].as_array();
    ensure!(
        rows.is_some_and(|rows| !rows.is_empty()),
        "{} has no rows",
        file.display()
    );
    Ok(report)
}

/// The first thing in which two comparisons differ, and what to do.
fn difference(a: &Value, b: &Value) -> Option<String> {
    let at = |report: &Value, place: &str| report.pointer(place).cloned().unwrap_or_default();
    let hashes = [a, b].map(|report| at(report, "/prompts_sha256"));
    let from = [a, b].map(|report| at(report, "/prompts_from"));
    let command = run::command("compare");
    // An older version stored no hash, and each run has a file of its own with the same prompts.
    if !hashes.iter().any(Value::is_null) && hashes[0] != hashes[1] {
        return Some(format!(
            "other prompts, of {} and {}; compare the runs of each seed again with \
             `{command} --prompts FILE`, one file for all of them",
            from[0], from[1]
        ));
    }
    for (words, place) in SETTINGS {
        let (a, b) = (at(a, place), at(b, place));
        if a != b {
            return Some(format!(
                "{words} {a} and {b}; compare both with the same --prompts, --n, --temperature, \
                 --max-new-tokens and --reward"
            ));
        }
    }
    let with_reward = [a, b].map(|report| !at(report, "/reward").is_null());
    (with_reward[0] != with_reward[1]).then(|| {
        "only one of them has a reward model; compare both with the same --reward".to_string()
    })
}

/// What tells a row's run from others of its name; None in files that say too little.
fn identity(row: &Value) -> Option<String> {
    let text = |key: &str| row.get(key)?.as_str();
    let policy = text("policy_sha256")?;
    Some(format!("{} {policy}", text("name")?))
}
