//! run.json and config.toml of a run directory.

use crate::files::{atomic_write, file_hash, hash};
use crate::redact::redact_json;
use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};
use std::path::Path;

pub(crate) const INFO: &str = "run.json";
pub(crate) const CONFIG: &str = "config.toml";

/// Key of run.json: the hash of all other keys.
const OWN_SUM: &str = "sha256";
/// Key of run.json: the hashes of the run's files that are written whole. While a file is being
/// replaced there are more, so that a kill at any moment leaves one that matches.
pub(crate) const FILES: &str = "files";

pub(crate) fn read_info(dir: &Path) -> Result<Map<String, Value>> {
    let path = dir.join(INFO);
    let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let damaged = || format!("{} is damaged", path.display());
    let mut info: Map<String, Value> = serde_json::from_slice(&text).with_context(damaged)?;
    // Older versions wrote no hash.
    if let Some(sum) = info.shift_remove(OWN_SUM) {
        let found = hash(serde_json::to_string_pretty(&info)?.as_bytes());
        ensure!(
            sum.as_str() == Some(&found),
            "{}: its {OWN_SUM} does not match (after a change by hand, delete that line)",
            damaged()
        );
    }
    Ok(info)
}

pub(crate) fn write_info(dir: &Path, info: &Map<String, Value>) -> Result<()> {
    let mut info = Value::Object(info.clone());
    redact_json(&mut info);
    let sum = hash(serde_json::to_string_pretty(&info)?.as_bytes());
    info[OWN_SUM] = sum.into();
    let mut text = serde_json::to_string_pretty(&info)?;
    text.push('\n');
    atomic_write(&dir.join(INFO), text.as_bytes())
}

/// Notes that `name` will have these bytes: call it and write run.json before the file is written.
/// The hash that it had stays before the new one until [`settle`].
pub(crate) fn announce(info: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    let files = info
        .entry(FILES)
        .or_insert_with(|| Value::Object(Map::new()));
    let new = Value::from(hash(bytes));
    let mut known = match files.get(name).cloned() {
        Some(Value::Array(several)) => several, // a kill came while it was replaced
        Some(one) => vec![one],
        None => Vec::new(),
    };
    known.retain(|old| *old != new);
    files[name] = match known.is_empty() {
        true => new,
        false => {
            known.push(new);
            known.into()
        }
    };
}

/// Notes that the announced bytes of `name` are written.
pub(crate) fn settle(info: &mut Map<String, Value>, name: &str) {
    if let Some(known) = info.get_mut(FILES).and_then(|files| files.get_mut(name))
        && let Value::Array(both) = known
        && let Some(new) = both.pop()
    {
        *known = new;
    }
}

/// The files of a run that do not match the hashes in its run.json. A missing file is named by
/// whoever needs it.
pub(crate) fn damaged_files(dir: &Path, info: &Map<String, Value>) -> Result<Vec<String>> {
    let mut damaged = Vec::new();
    let files = info.get(FILES).and_then(Value::as_object);
    for (name, known) in files.into_iter().flatten() {
        let file = dir.join(name);
        if !file.exists() {
            continue;
        }
        let found = file_hash(&file)?;
        let matches = match known {
            Value::Array(both) => both.iter().any(|known| known == &found),
            known => known == &found,
        };
        if !matches {
            damaged.push(name.clone());
        }
    }
    Ok(damaged)
}

pub(crate) fn read_config(dir: &Path) -> Result<toml::Table> {
    let path = dir.join(CONFIG);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    text.parse()
        .with_context(|| format!("{} is damaged", path.display()))
}
