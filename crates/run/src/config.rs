//! Typed settings: a TOML file, then `--set a.b=c` overrides, into a serde struct.
//!
//! The structs use `#[serde(deny_unknown_fields)]` and defaults. Two serde features spoil the
//! messages about keys: `flatten` (does not work with deny_unknown_fields) and `untagged` (its
//! error names neither key nor type). Where `[algorithm]` and `[[rewards]]` use them, unknown keys
//! are refused first, and the parts are parsed one by one with [`from_table`]. Relative paths in
//! settings are relative to the current directory, not to the file.

use crate::config_error::explain;
use crate::redact::redact;
use crate::unreadable::why_unreadable;
use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use std::path::Path;
use toml::{Table, Value};

/// Loads settings from a TOML file and `--set a.b=c` overrides into a typed config.
///
/// The value of an override is parsed as TOML if possible (`50`, `1e-5`, `true`, `["q", "v"]`, `{
/// name = "bleu" }`); otherwise it is a string, so paths and names need no quotes. Without a value,
/// `key=`, it unsets the key. A whole number in the key is an index into an array:
/// `rewards.0.weight=2`.
///
/// # Errors
/// One line that names the file or the override, the key, and what is expected. An unknown key
/// suggests the nearest known one.
///
/// ```
/// #[derive(serde::Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct Config {
///     lr: f64,
///     steps: usize,
/// }
/// let sets = ["lr=1e-4".to_string(), "steps=50".to_string()];
/// let config: Config = run::load_config(None, &sets)?;
/// assert_eq!((config.lr, config.steps), (1e-4, 50));
///
/// let typo = ["lr=1e-4".to_string(), "step=50".to_string()];
/// let error = run::load_config::<Config>(None, &typo).err().expect("an unknown key");
/// let expected = r#"--set step=50: unknown key "step"; did you mean "steps"?"#;
/// assert_eq!(run::one_line(&error), expected);
/// # Ok::<(), anyhow::Error>(())
/// ```
pub fn load_config<T: DeserializeOwned>(file: Option<&Path>, sets: &[String]) -> Result<T> {
    load_checked(file, sets, |_| Ok(()))
}

/// [`load_config`], then `check`. Keys that it does not know, or whose values have a wrong type
/// (those of tables that [`from_table`] reads), are reported like those of `load_config`.
pub(crate) fn load_checked<T: DeserializeOwned>(
    file: Option<&Path>,
    sets: &[String],
    check: impl FnOnce(&T) -> Result<()>,
) -> Result<T> {
    let in_file = read_file(file)?;
    let (table, overridden) = with_overrides(in_file.clone(), sets)?;
    let source = |key: &str| {
        let set = overridden.iter().rev().find(|(path, _)| {
            key == path
                || is_inside(key, path)
                || (is_inside(path, key) && !contains(&in_file, key))
        });
        match (set, file) {
            (Some((_, set)), _) => format!("--set {set}"),
            (None, Some(path)) => format!("config file {}", path.display()),
            (None, None) => NOT_GIVEN.to_string(),
        }
    };
    check_values(&Value::Table(table.clone()), "")
        .map_err(|(key, why)| anyhow::anyhow!("{}: {key} {why}", redact(&source(&key))))?;
    let config = parse(table, "", source)?;
    check(&config).map_err(|error| {
        let text = crate::one_line(&error);
        let about = text.strip_prefix(UNNAMED).unwrap_or(&text);
        let key = about.strip_prefix("unknown key ").unwrap_or(about);
        let key = key.strip_prefix('"').and_then(|key| key.split('"').next());
        let source = key.map(source).filter(|source| source != NOT_GIVEN);
        source.map_or(error, |source| anyhow::anyhow!("{source}: {about}"))
    })?;
    Ok(config)
}

/// The start of the errors of [`from_table`], which does not know the file.
const UNNAMED: &str = "settings: ";

/// Where a key comes from that neither a file nor `--set` gave.
const NOT_GIVEN: &str = "not given";

/// Keys that nothing is multiplied by but sizes: their limit is higher.
const LARGE: [&str; 8] = [
    "steps",
    "max_steps",
    "log_every",
    "eval_every",
    "save_every",
    "sample_every",
    "keep_checkpoints",
    "keep_checkpoints_mb",
];

/// Refuses whole numbers with which later products would overflow, and keys of servers, which would
/// be stored. The error: the key and what is wrong with its value.
fn check_values(value: &Value, key: &str) -> Result<(), (String, String)> {
    let inner = |part: &str| match key {
        "" => part.to_string(),
        key => format!("{key}.{part}"),
    };
    let last = key.rsplit('.').next().unwrap_or(key);
    match value {
        Value::Table(table) => table
            .iter()
            .try_for_each(|(k, v)| check_values(v, &inner(k))),
        Value::Array(items) => {
            let mut items = items.iter().enumerate();
            items.try_for_each(|(i, v)| check_values(v, &inner(&i.to_string())))
        }
        Value::Integer(n) if last != "seed" => {
            let most = match last {
                _ if LARGE.contains(&last) => 1_000_000_000_000_000,
                // plans go through them one by one
                "samples" | "epochs" => 1_000_000,
                _ => 1_000_000_000,
            };
            match *n > most {
                true => Err((
                    key.into(),
                    format!("= {n} is too large; the most is {most}"),
                )),
                false => Ok(()),
            }
        }
        Value::String(text) if redact(text) != *text => Err((
            key.into(),
            "holds a key or password, which the run would store; put it into an environment \
             variable and name that (key_env)"
                .into(),
        )),
        _ => Ok(()),
    }
}

/// The settings of [`load_config`] as a table, unchecked.
pub fn settings_table(file: Option<&Path>, sets: &[String]) -> Result<Table> {
    Ok(with_overrides(read_file(file)?, sets)?.0)
}

fn read_file(file: Option<&Path>) -> Result<Table> {
    file.map_or_else(|| Ok(Table::new()), read_table)
}

/// The table after the overrides, and each override with its dotted key.
fn with_overrides(mut table: Table, sets: &[String]) -> Result<(Table, Vec<(String, &str)>)> {
    let mut overridden = Vec::new();
    for set in sets {
        let path = apply(&mut table, set).with_context(|| format!("--set {set}"))?;
        overridden.push((path.join("."), set.as_str()));
    }
    Ok((table, overridden))
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

/// Deserialises one table of the settings, found at the dotted key `at`, with the same messages as
/// [`load_config`].
pub fn from_table<T: DeserializeOwned>(table: &Table, at: &str) -> Result<T> {
    let unnamed = UNNAMED.trim_end_matches(": ");
    parse(table.clone(), at, |_| unnamed.to_string())
}

fn parse<T: DeserializeOwned>(
    table: Table,
    at: &str,
    source: impl Fn(&str) -> String,
) -> Result<T> {
    serde_path_to_error::deserialize(Value::Table(table)).map_err(|error| {
        let path = error.path().to_string();
        let problem = explain(at, &path, error.inner().message());
        match source(&problem.key).as_str() {
            NOT_GIVEN => anyhow::anyhow!(
                "{}; give --config FILE, or --set for each key without a default (see --help)",
                problem.text
            ),
            source => anyhow::anyhow!("{source}: {}", problem.text),
        }
    })
}

fn read_table(path: &Path) -> Result<Table> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|e| {
        anyhow::anyhow!(
            "config file {name}: {}",
            why_unreadable(path, &e, &["toml"])
        )
    })?;
    text.parse::<Table>().map_err(|error| {
        let line = error
            .span()
            .map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        anyhow::anyhow!("config file {name}, line {line}: {}", error.message())
    })
}

/// Applies one override to the table and returns the parts of its key.
fn apply(table: &mut Table, set: &str) -> Result<Vec<String>> {
    let Some((key, value)) = set.split_once('=') else {
        bail!("expected KEY=VALUE, such as train.max_steps=50");
    };
    let path = key_parts(key.trim())?;
    match value.trim() {
        "" => unset(table, &path)?,
        value => put(table, &path, value_of(value))?,
    }
    Ok(path)
}

/// Removes a key; what is not set cannot be unset.
fn unset(table: &mut Table, path: &[String]) -> Result<()> {
    let (last, inner) = path.split_last().context("an empty key")?;
    let mut place = Some(&mut *table);
    for part in inner {
        place = place
            .and_then(|table| table.get_mut(part))
            .and_then(Value::as_table_mut);
    }
    let removed = place.and_then(|table| table.remove(last));
    let text = r#"there is nothing to unset (an empty text is "")"#;
    removed.map(|_| ()).context(text)
}

/// The text as a TOML value, or as a string if it is not TOML.
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
                    format!("{at} is an array of {n}; {part:?} is not an index into it")
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
