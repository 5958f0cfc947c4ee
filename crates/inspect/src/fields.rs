//! The fields of rows: in how many rows each says something, and what becomes of it.

use crate::refusal::field_reason;
use data::FieldUse;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Different names that are kept. Rows that are keyed by ids could have any number.
const MAX_NAMES: usize = 200;

/// Fields by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    names: BTreeMap<String, BTreeMap<FieldUse, u64>>,
    /// How often other names were met
    n_others: u64,
}

/// A field in a report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Field {
    pub name: String,
    /// Rows in which it says something
    pub rows: u64,
    /// `used`, `describes the row`, `ignored`, `unused`, `refused`; what most matters of several
    pub becomes: &'static str,
    /// Why it is refused
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Fields {
    pub fn add(&mut self, fields: &[(String, FieldUse)]) {
        for (name, becomes) in fields {
            if self.names.len() >= MAX_NAMES && !self.names.contains_key(name) {
                self.n_others += 1;
                continue;
            }
            let uses = self.names.entry(name.clone()).or_default();
            *uses.entry(becomes.clone()).or_default() += 1;
        }
    }

    /// Counts the ignored fields that lie inside others, such as `messages[].tool_calls`.
    pub fn add_inner(&mut self, object: &Map<String, Value>, ignore: &[String]) {
        let mut found = BTreeSet::new();
        for (name, value) in object {
            find_ignored(value, name, ignore, &mut found);
        }
        let fields = found.into_iter().map(|name| (name, FieldUse::Ignored));
        self.add(&fields.collect::<Vec<_>>());
    }

    /// Those that are used first, then by the number of rows.
    pub fn list(&self) -> Vec<Field> {
        let fields = self.names.iter().map(|(name, uses)| {
            let last = uses.last_key_value().expect("it was met");
            let (becomes, why) = match last.0 {
                FieldUse::Used => ("used", None),
                FieldUse::Descriptive => ("describes the row", None),
                FieldUse::Ignored => ("ignored", None),
                FieldUse::Unused => ("unused", None),
                FieldUse::Refused(why) => ("refused", Some(field_reason(why).to_string())),
            };
            let rows = uses.values().sum();
            let name = name.clone();
            (
                last.0.clone(),
                Field {
                    name,
                    rows,
                    becomes,
                    why,
                },
            )
        });
        let mut fields: Vec<(FieldUse, Field)> = fields.collect();
        let rank = |becomes: &FieldUse| match becomes {
            FieldUse::Refused(_) => 4,
            FieldUse::Unused => 3,
            FieldUse::Ignored => 2,
            FieldUse::Descriptive => 1,
            FieldUse::Used => 0,
        };
        fields.sort_by_key(|(becomes, field)| (rank(becomes), u64::MAX - field.rows));
        fields.into_iter().map(|(_, field)| field).collect()
    }

    /// How often names were met that are not kept.
    pub fn n_others(&self) -> u64 {
        self.n_others
    }
}

/// The names of ignored fields inside of `value`, which `at` names.
fn find_ignored(value: &Value, at: &str, ignore: &[String], found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => {
            let at = format!("{at}[]");
            items
                .iter()
                .for_each(|item| find_ignored(item, &at, ignore, found));
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = format!("{at}.{name}");
                let is_named = |known: &String| known == name || *known == path;
                match ignore.iter().any(is_named) {
                    true if says_nothing(value) => {}
                    true => {
                        found.insert(path);
                    }
                    false => find_ignored(value, &path, ignore, found),
                }
            }
        }
        _ => {}
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.iter().all(says_nothing),
        Value::Object(fields) => fields.values().all(says_nothing),
        Value::Bool(_) | Value::Number(_) => false,
    }
}
