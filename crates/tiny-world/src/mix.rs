//! Demonstrations of a chosen quality, for offline methods: a share of bad answers among good ones.

use crate::grade;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::Path;

/// Grade of a right answer without a serious flaw.
const GOOD: f64 = 8.5;
/// Grade of an answer that loses half of the points.
const BAD: f64 = 5.5;

/// `n` of the Alpaca rows of the file `from` as a JSON array, in the order of the file: `percent`
/// per cent with bad answers (a grade of at most 5.5), the others with good ones (at least 8.5).
/// The first of each are taken.
pub fn mix(from: &Path, percent: usize, n: usize) -> Result<String> {
    ensure!(percent <= 100, "{percent} % bad: a percentage is 0 to 100");
    let name = from.display();
    let text = std::fs::read_to_string(from).with_context(|| format!("cannot read {name}"))?;
    let rows: Vec<Value> =
        serde_json::from_str(&text).with_context(|| format!("{name} is not an array of rows"))?;
    let n_bad = n * percent / 100;
    let mut n_left = [n - n_bad, n_bad]; // good, bad
    let mut kept = Vec::with_capacity(n);
    for (i, row) in rows.iter().enumerate() {
        let field = |key: &str| row[key].as_str().unwrap_or_default();
        let grade = grade(field("instruction"), field("input"), field("output"));
        let score = grade
            .with_context(|| {
                format!(
                    "{name}: row {}: this question is not of the tiny world",
                    i + 1
                )
            })?
            .score;
        let kind = match score {
            s if s >= GOOD => 0,
            s if s <= BAD => 1,
            _ => continue,
        };
        if n_left[kind] > 0 {
            n_left[kind] -= 1;
            kept.push(row.to_string());
        }
    }
    let [good, bad] = n_left;
    ensure!(
        good + bad == 0,
        "{name} lacks {good} good and {bad} bad answers for {n} rows; give a smaller --rows"
    );
    Ok(format!("[\n{}\n]\n", kept.join(",\n")))
}
