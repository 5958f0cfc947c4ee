//! Demonstrations of a chosen quality, for offline methods: a share of bad answers among good ones.

use crate::grade;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::Path;

/// A right answer without a flaw that matters.
const GOOD: f64 = 8.5;
/// At least half of the points are lost.
const BAD: f64 = 5.5;

/// `n` rows of the Alpaca rows of `from`, `percent` of them bad by the oracle (at most 5.5 of 10), the others good (at least 8.5),
/// in the order of the file. No randomness: the first good and the first bad ones are taken.
pub fn mix(from: &Path, percent: usize, n: usize) -> Result<String> {
    ensure!(percent <= 100, "{percent} % bad: a share is 0 to 100");
    let name = from.display();
    let text = std::fs::read_to_string(from).with_context(|| format!("cannot read {name}"))?;
    let rows: Vec<Value> =
        serde_json::from_str(&text).with_context(|| format!("{name} is no array of rows"))?;
    let mut left = [n - n * percent / 100, n * percent / 100]; // good, bad
    let mut kept = Vec::with_capacity(n);
    for (i, row) in rows.iter().enumerate() {
        let field = |key: &str| row[key].as_str().unwrap_or_default();
        let grade = grade(field("instruction"), field("input"), field("output"));
        let score = grade
            .with_context(|| format!("{name}: row {}: not of the tiny world", i + 1))?
            .score;
        let kind = match score {
            s if s >= GOOD => 0,
            s if s <= BAD => 1,
            _ => continue,
        };
        if left[kind] > 0 {
            left[kind] -= 1;
            kept.push(row.to_string());
        }
    }
    let [good, bad] = left;
    ensure!(
        good + bad == 0,
        "{name} has {good} good and {bad} bad answers too few for {n} rows; give a smaller --rows"
    );
    Ok(format!("[\n{}\n]\n", kept.join(",\n")))
}
