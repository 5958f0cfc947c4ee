//! The logs of a run: metrics.jsonl, timings.jsonl and TensorBoard events.
//!
//! metrics.jsonl has one row per logged step, `{"step": 10, "loss/policy": 0.1, …}`; timings.jsonl
//! a row for each of those, `{"step": 10, "secs": 3.25, "time/step": 0.4, …}`, with everything that
//! depends on wall-clock time. So two runs of the same settings, one of them killed and resumed,
//! have the same metrics.jsonl, byte for byte. JSON has no NaN or infinity: they are the strings
//! "NaN", "inf" and "-inf", which [`read_metrics`] converts back.

use crate::files::atomic_write;
use crate::tensorboard::EventFile;
use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::SystemTime;

pub(crate) const METRICS: &str = "metrics.jsonl";
pub(crate) const TIMINGS: &str = "timings.jsonl";

/// Whether a metric depends on wall-clock time, and so belongs into timings.jsonl.
pub fn is_timing(name: &str) -> bool {
    name.starts_with("time/") || name.ends_with("tokens_per_sec")
}

/// One row of metrics.jsonl joined with its row of timings.jsonl.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricsRow {
    pub step: u64,
    /// Seconds of work since the run began.
    pub secs: f64,
    pub metrics: BTreeMap<String, f64>,
}

/// All logs of a run.
pub(crate) struct MetricsLog {
    metrics: Rows,
    timings: Rows,
    events: EventFile,
}

/// A file of JSON lines that never keeps an incomplete one.
struct Rows {
    name: &'static str,
    file: File,
    /// Length of the complete rows.
    bytes: u64,
}

impl Rows {
    fn create(dir: &Path, name: &'static str) -> Result<Self> {
        let path = dir.join(name);
        let file =
            File::create_new(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let bytes = 0;
        Ok(Self { name, file, bytes })
    }

    /// Opens the file and drops the rows after `step` (`None`: all rows).
    fn reopen(dir: &Path, name: &'static str, step: Option<u64>) -> Result<Self> {
        let path = dir.join(name);
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
        let file = File::options().append(true).open(&path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        let bytes = kept.len() as u64;
        Ok(Self { name, file, bytes })
    }

    fn add(&mut self, row: Map<String, Value>) -> Result<()> {
        let mut line = Value::Object(row).to_string();
        line.push('\n');
        if let Err(e) = self.file.write_all(line.as_bytes()) {
            // A full disk may have stored half of the row.
            let _ = self.file.set_len(self.bytes);
            return Err(e).with_context(|| format!("cannot write {}", self.name));
        }
        self.bytes += line.len() as u64;
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        self.file
            .sync_all()
            .with_context(|| format!("cannot write {}", self.name))
    }
}

impl MetricsLog {
    pub(crate) fn create(dir: &Path) -> Result<Self> {
        Ok(Self {
            metrics: Rows::create(dir, METRICS)?,
            timings: Rows::create(dir, TIMINGS)?,
            events: EventFile::create(dir, SystemTime::now())?,
        })
    }

    /// Opens the logs of a resumed run and drops the rows after `step` (`None`: all rows).
    pub(crate) fn reopen(dir: &Path, step: Option<u64>) -> Result<Self> {
        split_old_rows(dir)?;
        Ok(Self {
            metrics: Rows::reopen(dir, METRICS, step)?,
            timings: Rows::reopen(dir, TIMINGS, step)?,
            events: EventFile::reopen(dir, step, SystemTime::now())?,
        })
    }

    pub(crate) fn log(
        &mut self,
        step: u64,
        secs: f64,
        metrics: &BTreeMap<String, f64>,
    ) -> Result<()> {
        let (row, timing) = split(step, secs, metrics);
        self.timings.add(timing)?;
        self.metrics.add(row)?;
        self.events.scalars(step, SystemTime::now(), metrics.iter())
    }

    pub(crate) fn sync(&self) -> Result<()> {
        self.timings.sync()?;
        self.metrics.sync()
    }
}

/// The row of metrics.jsonl and the row of timings.jsonl.
fn split(
    step: u64,
    secs: f64,
    metrics: &BTreeMap<String, f64>,
) -> (Map<String, Value>, Map<String, Value>) {
    let mut row = Map::from_iter([("step".to_string(), step.into())]);
    let mut timing = row.clone();
    timing.insert("secs".into(), ((secs * 1000.0).round() / 1000.0).into());
    for (name, value) in metrics {
        let of = if is_timing(name) {
            &mut timing
        } else {
            &mut row
        };
        of.insert(name.clone(), number(*value));
    }
    (row, timing)
}

/// Older versions wrote timings into metrics.jsonl: splits it into the two files.
fn split_old_rows(dir: &Path) -> Result<()> {
    let (metrics, timings) = (dir.join(METRICS), dir.join(TIMINGS));
    if timings.exists() || !metrics.exists() {
        return Ok(());
    }
    let (mut rows, mut times) = (String::new(), String::new());
    for row in read_rows(&metrics)? {
        let (row, time) = split(row.step, row.secs, &row.metrics);
        rows += &format!("{}\n", Value::Object(row));
        times += &format!("{}\n", Value::Object(time));
    }
    // In this order: a crash in between leaves rows with seconds, which can be read too.
    atomic_write(&timings, times.as_bytes())?;
    atomic_write(&metrics, rows.as_bytes())
}

/// A JSON number, or "NaN", "inf" or "-inf".
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
    // older versions wrote it into metrics.jsonl
    let secs = row.remove("secs").map_or(Some(0.0), |secs| secs.as_f64())?;
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

/// The rows of a run's metrics.jsonl, joined with timings.jsonl. An incomplete last line is
/// ignored.
pub fn read_metrics(dir: &Path) -> Result<Vec<MetricsRow>> {
    let mut rows = read_rows(&dir.join(METRICS))?;
    if dir.join(TIMINGS).exists() {
        for (row, timing) in rows.iter_mut().zip(read_rows(&dir.join(TIMINGS))?) {
            ensure!(
                row.step == timing.step,
                "{}: {METRICS} and {TIMINGS} belong to different runs",
                dir.display()
            );
            row.secs = timing.secs;
            row.metrics.extend(timing.metrics);
        }
    }
    Ok(rows)
}

fn read_rows(path: &Path) -> Result<Vec<MetricsRow>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
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
