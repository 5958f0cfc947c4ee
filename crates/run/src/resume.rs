//! Whether a run may go on with the settings given: they are those it began with, but for a few that cannot spoil it.

use anyhow::{Result, bail};
use std::collections::BTreeMap;
use std::path::Path;
use toml::{Table, Value};

/// Last parts of keys that may change: cadences, what is kept, how long the run goes on, how much fits in memory at
/// once, and where it computes. A new length also moves what is left of a decaying learning rate.
const MAY_CHANGE: [&str; 14] = [
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
    "checkpoint_blocks",
    "device",
];

/// Refuses settings that differ, naming each; tells on stderr about those that may.
pub(crate) fn compare(dir: &Path, stored: &Table, given: &str) -> Result<()> {
    let (old, new) = (flat(stored), flat(&given.parse()?));
    let mut keys: Vec<&String> = old
        .keys()
        .chain(new.keys())
        .filter(|key| old.get(*key) != new.get(*key))
        .collect();
    keys.sort();
    keys.dedup();
    let say = |key: &String| {
        let text = |value: Option<&Value>| value.map_or("unset".to_string(), ToString::to_string);
        format!(
            "{key} was {} and is {}",
            text(old.get(key)),
            text(new.get(key))
        )
    };
    let may_change = |key: &&String| {
        let last = key.rsplit('.').next();
        // A watch that stopped the run may be told otherwise.
        key.starts_with("watch.")
            || last.is_some_and(|last| MAY_CHANGE.contains(&last))
            // A method's `epochs` are passes over one batch, not the length of the run.
            && !key.starts_with("algorithm.")
    };
    let (harmless, refused): (Vec<_>, Vec<_>) = keys.into_iter().partition(may_change);
    if !refused.is_empty() {
        let list: Vec<String> = refused.into_iter().map(say).collect();
        bail!(
            "{} cannot be resumed with other settings: {}; give it those it began with, or choose another --run",
            dir.display(),
            list.join(", ")
        );
    }
    for key in harmless {
        eprintln!("resuming with a new setting: {}", say(key));
    }
    Ok(())
}

/// Settings by dotted key; arrays are values.
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
