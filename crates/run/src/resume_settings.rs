//! Whether a run may be resumed with the given settings: equal to those it began with, except a few
//! that cannot change its results.

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use std::path::Path;
use toml::{Table, Value};

/// Last parts of the keys that may change: cadences, retention, the length of the run, memory
/// limits and the device. A new length also changes the rest of a decaying learning rate, which the
/// loops report. docs/guides/resume.md lists them.
const MAY_CHANGE: [&str; 15] = [
    "log_every",
    "eval_every",
    "save_every",
    "sample_every",
    "keep",
    "keep_checkpoints",
    "keep_checkpoints_mb",
    "max_steps",
    "steps",
    "epochs",
    "micro_batch_tokens",
    "memory_gb",
    "memory_mb",
    "checkpoint_blocks",
    "device",
];

/// Where the base lies. Its content is checked, so that a run may be moved, and it stays what it is
/// now for every step of the run.
const BASE_PLACE: &str = "model.base";

/// Settings that an error names.
const SHOWN: usize = 3;

/// The settings that a resume changes.
pub(crate) struct Changes {
    /// A line about each, for the user
    pub lines: Vec<String>,
    /// What each was, by its dotted key; null: it was unset
    pub before: Map<String, Json>,
}

/// Fails if settings differ that must not, naming each. Returns the allowed changes.
pub(crate) fn compare(dir: &Path, stored: &Table, given: &str) -> Result<Changes> {
    let (old, new) = (flat(stored), flat(&given.parse()?));
    let mut keys: Vec<&String> = old
        .keys()
        .chain(new.keys())
        .filter(|key| old.get(*key) != new.get(*key))
        .collect();
    keys.sort();
    keys.dedup();
    let describe = |key: &String| {
        let text = |value: Option<&Value>| value.map_or("unset".to_string(), ToString::to_string);
        format!(
            "{key} was {} and is {}",
            text(old.get(key)),
            text(new.get(key))
        )
    };
    let may_change = |key: &&String| {
        let last = key.rsplit('.').next();
        // A watch that stopped the run may be reconfigured.
        key.starts_with("watch.")
            || *key == BASE_PLACE
            || last.is_some_and(|last| MAY_CHANGE.contains(&last))
            // A method's `epochs` are passes over one batch, not the length of the run.
            && !key.starts_with("algorithm.")
    };
    let (harmless, refused): (Vec<_>, Vec<_>) = keys.into_iter().partition(may_change);
    if !refused.is_empty() {
        // Another method brings settings of its own: its name says it all.
        let method = |key: &&&String| **key == "algorithm.name";
        let mut list: Vec<String> = match refused.iter().find(method) {
            Some(name) => vec![describe(name)],
            None => refused.iter().take(SHOWN).copied().map(describe).collect(),
        };
        if refused.len() > list.len() {
            list.push(format!("and {} more", refused.len() - list.len()));
        }
        bail!(
            "{} cannot be resumed with other settings: {}; leave out --config and --set to use its \
             own, or choose another --run",
            dir.display(),
            list.join(", ")
        );
    }
    let line = |key| format!("resuming with a new setting: {}", describe(key));
    let was = |key: &&String| Ok(((*key).clone(), serde_json::to_value(old.get(*key))?));
    Ok(Changes {
        before: harmless
            .iter()
            .filter(|key| **key != BASE_PLACE)
            .map(was)
            .collect::<Result<_>>()?,
        lines: harmless.into_iter().map(line).collect(),
    })
}

/// `settings` with those of `before`, as [`Changes`] has them.
pub(crate) fn restore(settings: &mut Table, before: &Map<String, Json>) -> Result<()> {
    for (key, was) in before {
        let mut path: Vec<&str> = key.split('.').collect();
        let name = path.pop().unwrap_or_default();
        let mut table = &mut *settings;
        for part in path {
            let inner = table
                .entry(part)
                .or_insert_with(|| Value::Table(Table::new()));
            let inner = inner.as_table_mut();
            table = inner.with_context(|| format!("{key} is no setting"))?;
        }
        match was {
            Json::Null => drop(table.remove(name)),
            was => drop(table.insert(name.to_string(), Value::try_from(was)?)),
        }
    }
    Ok(())
}

/// The settings by dotted key. Arrays are values.
fn flat(table: &Table) -> BTreeMap<String, Value> {
    let mut out = BTreeMap::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) => out.extend(
                flat(inner)
                    .into_iter()
                    .map(|(k, v)| (format!("{key}.{k}"), v)),
            ),
            value => drop(out.insert(key.clone(), value.clone())),
        }
    }
    out
}
