//! The keys of a table of settings, found by walking it.

use serde_json::Value;
use toml::Table;

/// Every key that is no table, dotted, with its value. An entry of an array of tables is a number
/// of the key; other arrays are values. Null is left out: it cannot be written.
pub fn leaves(value: &Value) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    walk("", value, &mut found);
    found
}

fn walk(at: &str, value: &Value, found: &mut Vec<(String, Value)>) {
    let inner = |key: &str| match at {
        "" => key.to_string(),
        at => format!("{at}.{key}"),
    };
    match value {
        Value::Null => {}
        Value::Object(table) => {
            for (key, value) in table {
                walk(&inner(key), value, found);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (i, value) in items.iter().enumerate() {
                walk(&inner(&i.to_string()), value, found);
            }
        }
        value => found.push((at.to_string(), value.clone())),
    }
}

/// Writes a dotted key.
pub fn put(table: &mut Table, key: &str, value: toml::Value) {
    let (first, rest) = match key.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (key, None),
    };
    let Some(rest) = rest else {
        table.insert(first.into(), value);
        return;
    };
    let inner = table.entry(first).or_insert_with(|| Table::new().into());
    match inner {
        toml::Value::Array(items) => {
            let (i, rest) = rest.split_once('.').unwrap();
            let item = &mut items[i.parse::<usize>().unwrap()];
            put(item.as_table_mut().unwrap(), rest, value);
        }
        inner => put(inner.as_table_mut().unwrap(), rest, value),
    }
}
