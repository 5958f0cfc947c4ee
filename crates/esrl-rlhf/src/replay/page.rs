//! The page of a replayed step: one file that needs no network. Each token's colour is a column of choice, its title has them all.

use super::{COLUMNS, Replayed};
use anyhow::Result;
use std::collections::BTreeMap;

pub(super) fn page(
    title: &str,
    rows: &[Replayed],
    metrics: &BTreeMap<String, f64>,
) -> Result<String> {
    let columns: Vec<(&str, &str)> = COLUMNS
        .into_iter()
        .filter(|(name, _)| rows.iter().any(|row| row.columns.contains_key(name)))
        .collect();
    Ok(include_str!("page.html")
        .replace("{{title}}", &escaped(title))
        .replace("{{columns}}", &in_script(&serde_json::to_string(&columns)?))
        .replace(
            "{{metrics}}",
            &in_script(&serde_json::to_string(&shown(metrics))?),
        )
        .replace("{{rows}}", &in_script(&serde_json::to_string(rows)?)))
}

/// Numbers as JSON has them; what it has not is text.
fn shown(metrics: &BTreeMap<String, f64>) -> BTreeMap<&String, String> {
    metrics
        .iter()
        .map(|(name, value)| (name, format!("{value:.6}")))
        .collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// JSON in a script element: no text of a model can end the element.
fn in_script(json: &str) -> String {
    json.replace('<', "\\u003c")
}
