//! metrics.jsonl: one row per logged step, `{"step": 10, "secs": 3.25, "loss/policy": 0.1, …}`, in the order logged.
//! JSON has no NaN or infinity: those are the strings "NaN", "inf" and "-inf", and [`read_metrics`] reads them back.

use crate::files::atomic_write;
use crate::tensorboard::EventFile;
use anyhow::{Context, Result};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::SystemTime;

pub(crate) const METRICS: &str = "metrics.jsonl";

/// One row of metrics.jsonl.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricsRow {
    pub step: u64,
    /// Seconds of work since the run began.
    pub secs: f64,
    pub metrics: BTreeMap<String, f64>,
}

/// Both logs of a run: rows for programs, events for TensorBoard.
pub(crate) struct MetricsLog {
    rows: File,
    /// Length up to the last whole row.
    bytes: u64,
    events: EventFile,
}

impl MetricsLog {
    pub(crate) fn create(dir: &Path) -> Result<Self> {
        let path = dir.join(METRICS);
        let rows =
            File::create_new(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let events = EventFile::create(dir, SystemTime::now())?;
        Ok(Self {
            rows,
            bytes: 0,
            events,
        })
    }

    /// Opens the logs of a resumed run, cut back to the rows of `step` and before (`None`: none).
    pub(crate) fn reopen(dir: &Path, step: Option<u64>) -> Result<Self> {
        let path = dir.join(METRICS);
        let old = match std::fs::read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            old => old.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let old = String::from_utf8_lossy(&old);
        let kept: String = old
            .split_inclusive('\n')
            .filter(|line| keeps(line, step))
            .collect();
        atomic_write(&path, kept.as_bytes())?;
        let rows = File::options().append(true).open(&path);
        let rows = rows.with_context(|| format!("cannot write {}", path.display()))?;
        let events = EventFile::reopen(dir, step, SystemTime::now())?;
        Ok(Self {
            rows,
            bytes: kept.len() as u64,
            events,
        })
    }

    pub(crate) fn log(
        &mut self,
        step: u64,
        secs: f64,
        metrics: &BTreeMap<String, f64>,
    ) -> Result<()> {
        let line = row(step, secs, metrics);
        if let Err(e) = self.rows.write_all(line.as_bytes()) {
            // A full disk may have taken half the row.
            let _ = self.rows.set_len(self.bytes);
            return Err(e).with_context(|| format!("cannot write {METRICS}"));
        }
        self.bytes += line.len() as u64;
        self.events.scalars(step, SystemTime::now(), metrics.iter())
    }

    pub(crate) fn sync(&self) -> Result<()> {
        self.rows
            .sync_all()
            .with_context(|| format!("cannot write {METRICS}"))
    }
}

fn row(step: u64, secs: f64, metrics: &BTreeMap<String, f64>) -> String {
    let mut row = Map::new();
    row.insert("step".into(), step.into());
    row.insert("secs".into(), ((secs * 1000.0).round() / 1000.0).into());
    row.extend(
        metrics
            .iter()
            .map(|(name, value)| (name.clone(), number(*value))),
    );
    let mut line = Value::Object(row).to_string();
    line.push('\n');
    line
}

/// A JSON number, or the string that stands for one that JSON lacks.
pub(crate) fn number(value: f64) -> Value {
    if value.is_finite() {
        value.into()
    } else {
        value.to_string().into()
    }
}

fn keeps(line: &str, step: Option<u64>) -> bool {
    let (Some(last), Some(row)) = (step, parse(line)) else {
        return false;
    };
    line.ends_with('\n') && row.step <= last
}

fn parse(line: &str) -> Option<MetricsRow> {
    let mut row: Map<String, Value> = serde_json::from_str(line).ok()?;
    let step = row.remove("step")?.as_u64()?;
    let secs = row.remove("secs")?.as_f64()?;
    let value = |value: &Value| match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_f64(),
    };
    let metrics = row
        .iter()
        .filter_map(|(name, v)| Some((name.clone(), value(v)?)))
        .collect();
    Some(MetricsRow {
        step,
        secs,
        metrics,
    })
}

/// The rows of a run directory's metrics.jsonl; a last line that a crash cut short is left out.
pub fn read_metrics(dir: &Path) -> Result<Vec<MetricsRow>> {
    let path = dir.join(METRICS);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let whole = text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .enumerate();
    whole
        .map(|(i, line)| {
            parse(line).with_context(|| {
                format!("{}, line {}: not a row of metrics", path.display(), i + 1)
            })
        })
        .collect()
}
