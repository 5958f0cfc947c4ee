//! metrics.jsonl: one row per logged step, `{"step": 10, "loss/policy": 0.1, …}`, in the order logged; timings.jsonl: a row for
//! each of those, `{"step": 10, "secs": 3.25, "time/step": 0.4, …}`, with all that a clock says. So two runs of the same
//! settings, one of them killed and resumed, have the same metrics.jsonl, byte for byte.
//! JSON has no NaN or infinity: those are the strings "NaN", "inf" and "-inf", and [`read_metrics`] reads them back.

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

/// Whether a metric comes from a clock.
pub fn is_timing(name: &str) -> bool {
    name.starts_with("time/") || name.ends_with("tokens_per_sec")
}

/// One row of metrics.jsonl and of timings.jsonl.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricsRow {
    pub step: u64,
    /// Seconds of work since the run began.
    pub secs: f64,
    pub metrics: BTreeMap<String, f64>,
}

/// Both logs of a run: rows for programs, events for TensorBoard.
pub(crate) struct MetricsLog {
    metrics: Rows,
    timings: Rows,
    events: EventFile,
}

/// A file of JSON lines that never keeps half of one.
struct Rows {
    name: &'static str,
    file: File,
    /// Length up to the last whole row.
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

    /// Cut back to the rows of `step` and before.
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
            // A full disk may have taken half the row.
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

    /// Opens the logs of a resumed run, cut back to the rows of `step` and before (`None`: none).
    pub(crate) fn reopen(dir: &Path, step: Option<u64>) -> Result<Self> {
        part_from_timings(dir)?;
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

/// A row for each of the two files.
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

/// Runs of older versions have seconds in metrics.jsonl: makes them two files.
fn part_from_timings(dir: &Path) -> Result<()> {
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
    // in this order: a crash between the two leaves rows with seconds, which are read too
    atomic_write(&timings, times.as_bytes())?;
    atomic_write(&metrics, rows.as_bytes())
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
    // runs of older versions have it in metrics.jsonl
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

/// The rows of a run directory's metrics.jsonl, each with what timings.jsonl says of it; a last line that a crash cut short is
/// left out.
pub fn read_metrics(dir: &Path) -> Result<Vec<MetricsRow>> {
    let mut rows = read_rows(&dir.join(METRICS))?;
    if dir.join(TIMINGS).exists() {
        for (row, timing) in rows.iter_mut().zip(read_rows(&dir.join(TIMINGS))?) {
            ensure!(
                row.step == timing.step,
                "{}: {METRICS} and {TIMINGS} are not of one run",
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
