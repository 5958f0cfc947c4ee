//! The tables of keys in docs/config.md and docs/methods, key by key against the code's settings.

use super::page;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use toml::Table;

/// The settings of a stage with the required keys alone.
fn minimal(stage: &str) -> Table {
    let text = match stage {
        "sft" => "model = {}\ndata = { path = \"x\" }",
        "reward-model" => "model = { source = \"x\" }\ndata = { path = \"x\" }",
        "esrl-rlhf" => {
            "model = { policy = \"x\", reward = \"x\" }\ndata = { path = \"x\" }\nalgorithm = { name = \"ppo\" }"
        }
        other => panic!("docs/config.md names a stage {other:?}"),
    };
    text.parse().unwrap()
}

const STAGES: [&str; 3] = ["sft", "reward-model", "esrl-rlhf"];

fn parse(stage: &str, table: Table) -> Result<Value, String> {
    fn as_json<C: DeserializeOwned + serde::Serialize>(table: Table) -> Result<Value, String> {
        let config: C = table.try_into().map_err(|e| e.to_string())?;
        Ok(serde_json::to_value(config).unwrap())
    }
    match stage {
        "sft" => as_json::<sft::Config>(table),
        "reward-model" => as_json::<reward_model::Config>(table),
        _ => as_json::<esrl_rlhf::Config>(table),
    }
}

/// Every key of a section: those that serde lists when it meets an unknown one.
fn known_keys(stage: &str, section: &str) -> BTreeSet<String> {
    let mut table = minimal(stage);
    let mut at = &mut table;
    for name in section.split('.').filter(|name| !name.is_empty()) {
        let inner = at
            .entry(name)
            .or_insert_with(|| toml::Value::Table(Table::new()));
        at = inner.as_table_mut().unwrap();
    }
    at.insert("no_such_key".into(), true.into());
    let error = parse(stage, table).expect_err("an unknown key");
    let (_, expected) = error
        .split_once("expected")
        .unwrap_or_else(|| panic!("{error}"));
    let quoted = expected
        .lines()
        .next()
        .unwrap()
        .split('`')
        .skip(1)
        .step_by(2);
    quoted.map(String::from).collect()
}

/// The default of a key, if it has one.
fn default_of(stage: &str, section: &str, key: &str) -> Option<Value> {
    let given = minimal(stage);
    let path = [section, key].join(".");
    let names = || path.split('.').filter(|name| !name.is_empty());
    let mut at = Some(&toml::Value::Table(given.clone()));
    for name in names() {
        at = at.and_then(|value| value.get(name));
    }
    if at.is_some() {
        return None;
    }
    let mut found = &parse(stage, given).unwrap();
    for name in names() {
        found = found.get(name)?;
    }
    Some(found.clone())
}

/// One table of keys: the names of the columns after the type, and each key's cells.
struct Section {
    heading: String,
    columns: Vec<String>,
    rows: BTreeMap<String, Vec<String>>,
}

/// The tables below the third-level headings of a page.
fn sections(name: &str) -> Vec<Section> {
    let cells = |line: &str| -> Vec<String> {
        let line = line.trim().trim_start_matches('|').trim_end_matches('|');
        line.split(" | ").map(|c| c.trim().to_string()).collect()
    };
    let text = page(name);
    let mut found = Vec::new();
    for part in text.split("\n### ").skip(1) {
        let part = part.split("\n## ").next().unwrap();
        let mut lines = part.lines().filter(|l| l.starts_with('|'));
        let columns = cells(lines.next().expect("a table below each heading"))[2..].to_vec();
        let rows = lines.skip(1).map(|line| {
            let row = cells(line);
            assert_eq!(row.len(), columns.len() + 2, "{line}");
            (row[0].trim_matches('`').to_string(), row[1..].to_vec())
        });
        found.push(Section {
            heading: part.lines().next().unwrap().to_string(),
            rows: rows.collect(),
            columns,
        });
    }
    found
}

/// Asserts that a cell of defaults holds the default, and the cell of types its type.
#[track_caller]
fn check_default(what: &str, kind: &str, cell: &str, default: Option<&Value>) {
    let Some(default) = default else {
        assert!(
            cell == "required" || cell == "none",
            "{what} has no default, not {cell}"
        );
        return;
    };
    let is_kind = match kind {
        "integer" => default.is_u64(),
        "number" => default.is_f64(),
        "boolean" => default.is_boolean(),
        "text" => default.is_string(),
        "list" => default.is_array(),
        "list or text" => default.is_array() || default.is_string(),
        "table" => default.is_object(),
        other => panic!("{what}: unknown type {other:?}"),
    };
    assert!(is_kind, "{what} = {default} is not of type {kind}");
    if kind == "table" {
        return;
    }
    let written: Table = format!("x = {}", cell.trim_matches('`'))
        .parse()
        .unwrap_or_else(|e| panic!("{what}: {cell} is not TOML: {e}"));
    let written = serde_json::to_value(&written["x"]).unwrap();
    assert_eq!(&written, default, "the default of {what}");
}

#[test]
fn every_setting_is_documented_with_its_default() {
    let mut documented: BTreeMap<(&str, String), BTreeSet<String>> = BTreeMap::new();
    let sections = sections("config.md");
    for section in &sections {
        let (stages, place) = section.heading.split_once(": ").expect("stages: section");
        if place.contains(" of ") {
            continue;
        }
        for stage in stages.split(", ") {
            for name in place.split(", ") {
                let name = match name {
                    "top level" => "",
                    name => name.trim_start_matches('[').trim_end_matches(']'),
                };
                for (key, row) in &section.rows {
                    let what = format!("{stage}: {name}.{key}");
                    let default = default_of(stage, name, key);
                    check_default(&what, &row[0], &row[1], default.as_ref());
                    let stage = STAGES.into_iter().find(|s| *s == stage).unwrap();
                    let keys = documented.entry((stage, name.to_string())).or_default();
                    assert!(keys.insert(key.clone()), "{what} is documented twice");
                }
            }
        }
    }
    for ((stage, section), keys) in &documented {
        assert_eq!(
            *keys,
            known_keys(stage, section),
            "{stage}, section [{section}]"
        );
    }
    // Every table among the defaults has a section of its own.
    for stage in STAGES {
        let mut open = vec![(String::new(), parse(stage, minimal(stage)).unwrap())];
        while let Some((section, value)) = open.pop() {
            assert!(
                section == "algorithm" || documented.contains_key(&(stage, section.clone())),
                "{stage}: [{section}] has no table in docs/config.md"
            );
            for (key, value) in value.as_object().unwrap() {
                if value.is_object() {
                    let name = format!("{section}.{key}");
                    open.push((name.trim_start_matches('.').to_string(), value.clone()));
                }
            }
        }
    }
}

#[test]
fn every_key_of_a_source_of_data_is_documented_with_its_default() {
    let minimal: Table = "path = \"x\"".parse().unwrap();
    let source: data::DataSet = minimal.clone().try_into().unwrap();
    let source = serde_json::to_value(source).unwrap();
    let sections = sections("config.md");
    let section = sections
        .iter()
        .find(|s| s.heading.contains("[[data.sources]]"));
    let section = section.expect("a section");
    for (key, row) in &section.rows {
        let default = source.get(key).filter(|_| !minimal.contains_key(key));
        check_default(&format!("data.sources: {key}"), &row[0], &row[1], default);
    }
    let wrong: Table = "no_such_key = 1".parse().unwrap();
    let error = wrong.try_into::<data::DataSet>().unwrap_err().to_string();
    let known: BTreeSet<&str> = error.split('`').skip(3).step_by(2).collect();
    let documented = section.rows.keys().map(String::as_str);
    assert_eq!(documented.collect::<BTreeSet<_>>(), known, "{error}");
}

#[test]
fn every_key_of_a_reward_source_is_documented_with_its_default() {
    let sections = sections("config.md");
    let of = |kinds: &'static str| {
        sections.iter().filter(move |section| {
            let place = section.heading.strip_prefix("esrl-rlhf: [[rewards]] of ");
            let names = place.map(|place| place.strip_prefix("kind ").unwrap_or(place));
            names.is_some_and(|names| names.split(", ").any(|name| name == kinds))
        })
    };
    for kind in rewards::KINDS {
        let table = Table::from_iter([("kind".to_string(), (*kind).into())]);
        let config = rewards::SourceConfig::try_from(table).unwrap();
        let Value::Object(mut defaults) = serde_json::to_value(config).unwrap() else {
            panic!("{kind} is not a table")
        };
        defaults.remove("kind");
        let mut documented = BTreeSet::new();
        for (key, row) in of("every kind").chain(of(kind)).flat_map(|s| &s.rows) {
            let what = format!("[[rewards]] of kind {kind}: {key}");
            assert!(documented.insert(key), "{what} is documented twice");
            // A required key has an empty default.
            let empty = |value: &&Value| [json!(null), json!([]), json!("")].contains(value);
            let default = defaults.get(key).filter(|value| !empty(value));
            check_default(&what, &row[0], &row[1], default);
        }
        let keys: BTreeSet<&String> = defaults.keys().collect();
        assert_eq!(documented, keys, "{kind}");
    }
}

#[test]
fn every_key_of_a_method_is_documented_with_its_defaults() {
    let names: BTreeSet<&str> = algorithms::names().into_iter().collect();
    let pages: BTreeSet<&str> = algorithms::registry().iter().map(|e| e.page).collect();
    let mut seen = BTreeSet::new();
    for section in pages
        .into_iter()
        .flat_map(|name| sections(&format!("methods/{name}.md")))
    {
        let Some(place) = section.heading.strip_prefix("[algorithm] of ") else {
            continue;
        };
        // The methods of a family share a table; a column is the default, or a mode's default.
        for method in place.split(", ").filter(|name| names.contains(name)) {
            seen.insert(*names.get(method).unwrap());
            for (at, column) in section.columns.iter().enumerate() {
                let given = match column.as_str() {
                    "default" => json!({}),
                    "meaning" => continue,
                    mode => json!({ "mode": mode }),
                };
                let defaults = algorithms::resolve(method, &given).unwrap();
                let defaults = defaults.as_object().unwrap();
                let keys: BTreeSet<&String> = defaults.keys().collect();
                assert_eq!(
                    section.rows.keys().collect::<BTreeSet<_>>(),
                    keys,
                    "{place}"
                );
                for (key, row) in &section.rows {
                    let what = format!("{method}: {key}, column {column}");
                    check_default(&what, &row[0], &row[1 + at], defaults.get(key));
                }
            }
        }
    }
    assert_eq!(seen, names);
}
