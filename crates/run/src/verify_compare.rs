//! The byte-by-byte comparison of two run directories.

use crate::checkpoint::STATE;
use crate::metrics::{TIMINGS, is_timing};
use crate::run_info::INFO;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

/// The files under `run` by path, except those that depend on time or on the history of the run.
pub(crate) fn content(run: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    collect(run, "", &mut found)?;
    Ok(found)
}

fn collect(dir: &Path, under: &str, found: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    let is_ignored = |name: &str| {
        [INFO, TIMINGS, ".lock", "SHA256SUMS"].contains(&name)
            || name.starts_with("events.out.tfevents")
    };
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let full = format!("{under}{name}");
        if path.is_dir() {
            collect(&path, &format!("{full}/"), found)?;
        } else if !is_ignored(&name) {
            let context = || format!("cannot read {full}");
            let mut bytes = std::fs::read(&path).with_context(context)?;
            if name == STATE {
                let mut state = serde_json::from_slice(&bytes).with_context(context)?;
                remove_times(&mut state);
                bytes = state.to_string().into_bytes();
            }
            found.insert(full, bytes);
        }
    }
    Ok(())
}

/// Removes wall-clock timings from a checkpoint's state.
fn remove_times(state: &mut Value) {
    if let Value::Object(map) = state {
        map.retain(|key, _| key != "secs" && !is_timing(key));
        map.values_mut().for_each(remove_times);
    }
}

/// Fails if the two runs differ, naming the first files.
pub(crate) fn compare(
    expected: &BTreeMap<String, Vec<u8>>,
    got: &BTreeMap<String, Vec<u8>>,
    whole: &Path,
    run: &Path,
) -> Result<()> {
    let names: BTreeSet<&String> = expected.keys().chain(got.keys()).collect();
    let differ: Vec<&String> = names
        .into_iter()
        .filter(|n| expected.get(*n) != got.get(*n))
        .collect();
    if differ.is_empty() {
        return Ok(());
    }
    let mut list = String::new();
    for name in differ.iter().take(5) {
        let what = match (expected.contains_key(*name), got.contains_key(*name)) {
            (true, true) => "differs",
            (true, false) => "is missing",
            _ => "is extra",
        };
        write!(
            list,
            "{}{name} {what}",
            if list.is_empty() { "" } else { ", " }
        )?;
    }
    bail!(
        "the killed run differs from the uninterrupted one: {list}{}; compare {} and {}",
        if differ.len() > 5 { ", …" } else { "" },
        whole.display(),
        run.display()
    )
}
