//! What a stage says at its end: what came out beside where it began, where the result is, and the
//! next command.

use crate::metrics::{MetricsRow, read_metrics};
use crate::say;
use std::path::Path;

/// A metric of metrics.jsonl whose first and last value are shown.
pub struct Curve<'a> {
    /// Words for the metric
    pub name: &'a str,
    pub metric: &'a str,
    /// A metric to compare the last value with, and words for it
    pub baseline: Option<(&'a str, &'a str)>,
}

impl<'a> Curve<'a> {
    pub fn new(name: &'a str, metric: &'a str) -> Self {
        Self {
            name,
            metric,
            baseline: None,
        }
    }

    /// `held-out accuracy 0.512 → 0.871 (the longer answer: 0.604)`. None: the run has no such
    /// metric, or it is a loss that was zero throughout, as one without held-out rows.
    fn text(&self, rows: &[MetricsRow]) -> Option<String> {
        let values = |metric: &str| {
            let values = rows.iter().filter_map(|row| row.metrics.get(metric));
            values.copied().collect::<Vec<f64>>()
        };
        let of = values(self.metric);
        let (first, last) = (of.first()?, of.last()?);
        if self.metric.ends_with("loss") && of.iter().all(|value| *value == 0.0) {
            return None;
        }
        let mut text = match of.len() {
            1 => format!("{} {}", self.name, rounded(*last)),
            _ => format!("{} {} → {}", self.name, rounded(*first), rounded(*last)),
        };
        if let Some((name, metric)) = self.baseline
            && let Some(value) = values(metric).last()
        {
            text += &format!(" ({name}: {})", rounded(*value));
        }
        Some(text)
    }
}

/// With four decimals; a value that rounds to 0 has no sign.
fn rounded(value: f64) -> String {
    let text = format!("{value:.4}");
    match text.as_str() {
        "-0.0000" => "0.0000".into(),
        _ => text,
    }
}

/// Says how the run in `dir` ended: its curves, the directory of its result, and the command that
/// goes on from it.
pub fn say_outcome(dir: &Path, curves: &[Curve], result: &str, next: &str) {
    // What cannot be read was reported, or will be by the command that needs it.
    let rows = read_metrics(dir).unwrap_or_default();
    let texts: Vec<String> = curves.iter().filter_map(|c| c.text(&rows)).collect();
    if !texts.is_empty() {
        say!("{}", texts.join("; "));
    }
    say!("result: {}", dir.join(result).display());
    say!("next: {next}");
}

/// Whether `best` is above `last` in the three digits that are shown of rewards.
pub fn is_above(best: f64, last: f64) -> bool {
    (best * 1000.0).round() > (last * 1000.0).round()
}
