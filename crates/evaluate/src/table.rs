//! `wick table`: one line per method from comparisons of several seeds, mean and spread.

use crate::output::ensure_parent;
use crate::seeds::seeds;
use anyhow::Result;
use run::Replace;
use serde_json::Value;
use std::fmt::Write;
use std::path::PathBuf;

/// The arguments of `wick table`.
#[derive(Clone, Debug, clap::Args)]
pub struct TableConfig {
    /// Directories that `wick compare` wrote, one per seed; a method has the same name in each
    #[arg(long, required = true, num_args = 1.., value_name = "DIR")]
    pub compared: Vec<PathBuf>,
    /// Also write the table into this file
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Replace an existing --out
    #[arg(long)]
    pub force: bool,
}

/// A column: its heading, the JSON pointer of its number in a row of compare.json, a factor, and
/// the number of decimals.
pub(crate) type Column = (&'static str, &'static str, f64, usize);

pub(crate) const COLUMNS: [Column; 8] = [
    ("oracle (1-10)", "/oracle/mean", 1.0, 2),
    ("reward", "/reward_normalised/mean", 1.0, 2),
    ("KL, nats", "/kl_exact/mean", 1.0, 2),
    ("tokens", "/length_tokens/mean", 1.0, 1),
    ("samples drawn", "/samples_drawn", 1.0, 0),
    ("tokens drawn", "/tokens_drawn", 1.0, 0),
    ("seconds", "/wall_hours", 3600.0, 0),
    ("peak GB", "/peak_memory_gb", 1.0, 2),
];

/// The Markdown table: mean ± sample standard deviation over the seeds, sorted by the first column,
/// best first.
pub fn table(config: &TableConfig) -> Result<String> {
    if let Some(out) = &config.out {
        run::ensure_new(out, "--out", Replace::WithForce(config.force))?;
        ensure_parent(out)?;
    }
    let mut rows: Vec<(String, Vec<Vec<f64>>)> = Vec::new();
    for compared in seeds(&config.compared)? {
        for row in compared {
            let name = row["name"].as_str().unwrap_or_default().to_string();
            let at = match rows.iter().position(|(known, _)| *known == name) {
                Some(at) => at,
                None => {
                    rows.push((name, vec![Vec::new(); COLUMNS.len()]));
                    rows.len() - 1
                }
            };
            for (values, (_, place, factor, _)) in rows[at].1.iter_mut().zip(COLUMNS) {
                values.extend(
                    row.pointer(place)
                        .and_then(Value::as_f64)
                        .map(|v| v * factor),
                );
            }
        }
    }
    rows.sort_by(|(_, a), (_, b)| mean(&b[0]).total_cmp(&mean(&a[0])));
    let headings: Vec<&str> = COLUMNS.iter().map(|(heading, ..)| *heading).collect();
    let mut text = format!(
        "| method | {} | seeds |\n|---|{}---|\n",
        headings.join(" | "),
        "---|".repeat(COLUMNS.len())
    );
    for (name, columns) in &rows {
        write!(text, "| `{name}` |")?;
        for (values, (.., decimals)) in columns.iter().zip(COLUMNS) {
            write!(text, " {} |", cell(values, decimals))?;
        }
        let seeds = columns.iter().map(Vec::len).max().unwrap_or(0);
        writeln!(text, " {seeds} |")?;
    }
    if let Some(file) = &config.out {
        run::atomic_write(file, text.as_bytes())?;
    }
    Ok(text)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// `–` without values, the value itself for one, mean ± standard deviation for more.
fn cell(values: &[f64], decimals: usize) -> String {
    let m = mean(values);
    match values.len() {
        0 => "–".to_string(),
        1 => format!("{m:.decimals$}"),
        n => {
            let variance = values.iter().map(|v| (v - m).powi(2)).sum::<f64>() / (n - 1) as f64;
            format!("{m:.decimals$} ± {:.decimals$}", variance.sqrt())
        }
    }
}
