//! The HTML page of a replayed step: one file that needs no network. Tokens are coloured by a
//! column of choice; the tooltip has all columns.

use super::columns::{COLUMNS, Replayed};
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

/// Numbers as text: JSON has no NaN and no infinity.
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

/// JSON for a script element, which no text of a model can end.
fn in_script(json: &str) -> String {
    json.replace('<', "\\u003c")
}
