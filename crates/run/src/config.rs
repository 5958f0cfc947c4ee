//! Typed settings: a TOML file, then `--set a.b=c` overrides, into a serde struct.
//!
//! The structs use `#[serde(deny_unknown_fields)]` and defaults. Two serde features defeat the messages about keys, and
//! settings should do without them: `flatten` (cannot be combined with deny_unknown_fields) and `untagged` (its error
//! names neither key nor type). Tag an enum, or keep a `toml::Table` and parse it by [`from_table`] once its kind is
//! known. Relative paths in settings are relative to the current directory, not to the file.

use crate::config_error::explain;
use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use std::path::Path;
use toml::{Table, Value};

/// Reads `--config` and the `--set a.b=c` overrides into a typed config (its structs use `deny_unknown_fields` and
/// defaults). An unknown key is an error that names the nearest known one.
///
/// The value of an override is read as TOML when it can be (`50`, `1e-5`, `true`, `["q", "v"]`, `{ name = "bleu" }`),
/// else it is a string, so paths and names need no quotes. A whole number in the key is a place in an array:
/// `rewards.0.weight=2`.
pub fn load_config<T: DeserializeOwned>(file: Option<&Path>, sets: &[String]) -> Result<T> {
    let mut table = match file {
        Some(path) => read_table(path)?,
        None => Table::new(),
    };
    let in_file = table.clone();
    let mut overridden = Vec::new();
    for set in sets {
        let path = apply(&mut table, set).with_context(|| format!("--set {set}"))?;
        overridden.push((path.join("."), set.as_str()));
    }
    let source = |key: &str| {
        let set = overridden.iter().rev().find(|(path, _)| {
            key == path
                || is_inside(key, path)
                || (is_inside(path, key) && !contains(&in_file, key))
        });
        match (set, file) {
            (Some((_, set)), _) => format!("--set {set}"),
            (None, Some(path)) => format!("config file {}", path.display()),
            (None, None) => "settings".to_string(),
        }
    };
    parse(table, "", source)
}

/// Whether the dotted key `inner` lies below `outer`.
fn is_inside(inner: &str, outer: &str) -> bool {
    inner
        .strip_prefix(outer)
        .is_some_and(|rest| rest.starts_with(['.', '[']))
}

fn contains(table: &Table, key: &str) -> bool {
    let mut parts = key.split('.');
    let first = parts.next().and_then(|part| table.get(part));
    parts.fold(first, |value, part| value?.get(part)).is_some()
}

/// Reads one table of the settings, found at the dotted key `at`, into its own struct, with the same messages.
pub fn from_table<T: DeserializeOwned>(table: &Table, at: &str) -> Result<T> {
    parse(table.clone(), at, |_| "settings".to_string())
}

fn parse<T: DeserializeOwned>(
    table: Table,
    at: &str,
    source: impl Fn(&str) -> String,
) -> Result<T> {
    serde_path_to_error::deserialize(Value::Table(table)).map_err(|error| {
        let path = error.path().to_string();
        let problem = explain(at, &path, error.inner().message());
        anyhow::anyhow!("{}: {}", source(&problem.key), problem.text)
    })
}

fn read_table(path: &Path) -> Result<Table> {
    let name = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("config file {name}"))?;
    text.parse::<Table>().map_err(|error| {
        let line = error
            .span()
            .map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        anyhow::anyhow!("config file {name}, line {line}: {}", error.message())
    })
}

/// Puts one override into the table and returns its key's parts.
fn apply(table: &mut Table, set: &str) -> Result<Vec<String>> {
    let Some((key, value)) = set.split_once('=') else {
        bail!("expected KEY=VALUE, such as train.max_steps=50");
    };
    let path = key_parts(key.trim())?;
    put(table, &path, value_of(value.trim()))?;
    Ok(path)
}

/// A TOML value, or the text as it is.
fn value_of(text: &str) -> Value {
    let parsed = format!("value = {text}").parse::<Table>();
    match parsed
        .ok()
        .filter(|table| table.len() == 1)
        .and_then(|mut table| table.remove("value"))
    {
        Some(value) => value,
        None => Value::String(text.to_string()),
    }
}

fn put(table: &mut Table, path: &[String], value: Value) -> Result<()> {
    let (last, inner) = path.split_last().context("an empty key")?;
    let Some((first, rest)) = inner.split_first() else {
        table.insert(last.clone(), value);
        return Ok(());
    };
    let mut place = table
        .entry(first.clone())
        .or_insert_with(|| Value::Table(Table::new()));
    let mut at = first.clone();
    for part in rest.iter().chain([last]) {
        place = match place {
            Value::Table(table) => table
                .entry(part.clone())
                .or_insert_with(|| Value::Table(Table::new())),
            Value::Array(items) => {
                let n = items.len();
                let item = part.parse().ok().and_then(|i: usize| items.get_mut(i));
                item.with_context(|| {
                    format!("{at} is an array of {n}; {part:?} is no place in it")
                })?
            }
            other => bail!("{at} is a {}, not a table", other.type_str()),
        };
        at = format!("{at}.{part}");
    }
    *place = value;
    Ok(())
}

/// `a.b."c.d"` as TOML reads a dotted key.
fn key_parts(key: &str) -> Result<Vec<String>> {
    let table: Table = format!("{key} = 0")
        .parse()
        .ok()
        .with_context(|| format!("{key:?} is not a key"))?;
    let mut parts = Vec::new();
    let mut value = &Value::Table(table);
    while let Value::Table(inner) = value {
        match inner.iter().next() {
            Some((part, next)) if inner.len() == 1 => {
                parts.push(part.clone());
                value = next;
            }
            _ => bail!("{key:?} is not a key"),
        }
    }
    Ok(parts)
}
