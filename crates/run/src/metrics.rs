//! The logs of a run: metrics.jsonl, timings.jsonl and TensorBoard events.
//!
//! metrics.jsonl has one row per logged step, `{"step": 10, "loss/policy": 0.1, …}`; timings.jsonl
//! a row for each of those, `{"step": 10, "secs": 3.25, "time/step": 0.4, …}`, with everything that
//! depends on wall-clock time. So two runs of the same settings, one of them killed and resumed,
//! have the same metrics.jsonl, byte for byte. A row of timings.jsonl also has two checksums:
//! `metrics_crc32c` of the row in metrics.jsonl, and `crc32c` of itself without that key. A damaged
//! row is named and left out by readers; a resumed run keeps it as it is. JSON has no NaN or
//! infinity: they are the strings "NaN", "inf" and "-inf", which [`read_metrics`] converts back.

use crate::files::atomic_write;
use crate::say::say;
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
/// Keys of a row of timings.jsonl.
const OWN_SUM: &str = "crc32c";
const METRICS_SUM: &str = "metrics_crc32c";

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

    /// Opens the file and keeps its first `n` rows, in whatever state they are.
    fn reopen(dir: &Path, name: &'static str, n: usize) -> Result<Self> {
        let path = dir.join(name);
        let old = read_bytes(&path)?;
        let kept: Vec<u8> = lines(&old).take(n).flatten().copied().collect();
        atomic_write(&path, &kept)?;
        let file = File::options().append(true).open(&path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        let bytes = kept.len() as u64;
        Ok(Self { name, file, bytes })
    }

    fn add(&mut self, mut line: String) -> Result<()> {
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

    /// Opens the logs of a resumed run and drops the rows after `step` (`None`: all rows). Says
    /// whether there were any.
    pub(crate) fn reopen(dir: &Path, step: Option<u64>) -> Result<(Self, bool)> {
        split_old_rows(dir)?;
        let table = Table::read(dir)?;
        table.report(dir);
        let [metrics, timings] = table.n_until(step);
        let log = Self {
            metrics: Rows::reopen(dir, METRICS, metrics)?,
            timings: Rows::reopen(dir, TIMINGS, timings)?,
            events: EventFile::reopen(dir, step, SystemTime::now())?,
        };
        Ok((log, metrics < table.metrics.len()))
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
fn split(step: u64, secs: f64, metrics: &BTreeMap<String, f64>) -> (String, String) {
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
    let row = Value::Object(row).to_string();
    timing.insert(METRICS_SUM.into(), crc(row.as_bytes()).into());
    let own = crc(Value::Object(timing.clone()).to_string().as_bytes());
    timing.insert(OWN_SUM.into(), own.into());
    (row, Value::Object(timing).to_string())
}

fn crc(bytes: &[u8]) -> String {
    format!("{:08x}", crc32c::crc32c(bytes))
}

/// Older versions wrote timings into metrics.jsonl: splits it into the two files.
fn split_old_rows(dir: &Path) -> Result<()> {
    let (metrics, timings) = (dir.join(METRICS), dir.join(TIMINGS));
    if timings.exists() || !metrics.exists() {
        return Ok(());
    }
    let (mut rows, mut times) = (Vec::new(), String::new());
    for line in lines(&read_bytes(&metrics)?) {
        match parse(line) {
            Some(row) => {
                let (row, time) = split(row.step, row.secs, &row.metrics);
                rows.extend(format!("{row}\n").bytes());
                times += &format!("{time}\n");
            }
            // Damaged: kept, and reported by the readers.
            None => {
                rows.extend(line);
                times += "{}\n";
            }
        }
    }
    // In this order: a crash in between leaves rows with seconds, which can be read too.
    atomic_write(&timings, times.as_bytes())?;
    atomic_write(&metrics, &rows)
}

/// A JSON number, or "NaN", "inf" or "-inf".
pub(crate) fn number(value: f64) -> Value {
    if value.is_finite() {
        value.into()
    } else {
        value.to_string().into()
    }
}

/// The complete lines, newline included. A kill may leave half a line at the end.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| line.ends_with(b"\n"))
}

/// The content of a file; empty if it does not exist.
fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    match std::fs::read(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        bytes => bytes.with_context(|| format!("cannot read {}", path.display())),
    }
}

/// A row of either file.
fn parse(line: &[u8]) -> Option<MetricsRow> {
    let mut row: Map<String, Value> = serde_json::from_slice(line).ok()?;
    let step = row.remove("step")?.as_u64()?;
    row.remove(METRICS_SUM);
    row.remove(OWN_SUM);
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

/// The checksum of the row's line in metrics.jsonl that a row of timings.jsonl has, and whether the
/// row has its own. Rows of older versions have none and pass.
fn sums(line: &[u8]) -> (Option<String>, bool) {
    let Ok(mut row) = serde_json::from_slice::<Map<String, Value>>(line) else {
        return (None, false);
    };
    let own = row.shift_remove(OWN_SUM);
    let of_metrics = row
        .get(METRICS_SUM)
        .and_then(Value::as_str)
        .map(str::to_string);
    let intact = match own {
        None => of_metrics.is_none(),
        Some(own) => own == crc(Value::Object(row).to_string().as_bytes()).as_str(),
    };
    (of_metrics.filter(|_| intact), intact)
}

/// Both files, line by line.
struct Table {
    metrics: Vec<Line>,
    timings: Vec<Line>,
    /// For each line of metrics.jsonl, its line of timings.jsonl
    pairs: Vec<Option<usize>>,
    /// The files whose last line has no newline: half of it, or a damaged one
    incomplete: Vec<&'static str>,
}

/// A line of either file; `None` is a damaged one.
type Line = Option<MetricsRow>;

impl Table {
    /// Pairs the lines by checksum; those of older versions, which have none, by their order.
    fn read(dir: &Path) -> Result<Self> {
        let (metrics, timings) = (
            read_bytes(&dir.join(METRICS))?,
            read_bytes(&dir.join(TIMINGS))?,
        );
        let is_incomplete = |bytes: &[u8]| bytes.last().is_some_and(|last| *last != b'\n');
        let incomplete = [(METRICS, &metrics), (TIMINGS, &timings)]
            .into_iter()
            .filter_map(|(name, bytes)| is_incomplete(bytes).then_some(name))
            .collect();
        let sums: Vec<_> = lines(&timings).map(sums).collect();
        let by_sum: BTreeMap<&str, usize> = sums
            .iter()
            .enumerate()
            .filter_map(|(i, (sum, _))| Some((sum.as_deref()?, i)))
            .collect();
        let timings: Vec<Line> = lines(&timings)
            .zip(&sums)
            .map(|(line, (_, intact))| parse(line).filter(|_| *intact))
            .collect();
        let mut table = Self {
            metrics: Vec::new(),
            timings,
            pairs: Vec::new(),
            incomplete,
        };
        for (i, line) in lines(&metrics).enumerate() {
            let found = by_sum.get(crc(&line[..line.len() - 1]).as_str()).copied();
            // Without a line that has its checksum it is damaged, unless the line in its place has
            // no checksum or is the damaged one.
            let beside = sums.get(i).is_none_or(|(sum, _)| sum.is_none());
            let row = parse(line).filter(|_| found.is_some() || beside);
            table
                .pairs
                .push(found.or((beside && i < sums.len()).then_some(i)));
            if let (Some(row), Some(timing)) = (&row, table.timing(i)) {
                ensure!(
                    row.step == timing.step,
                    "{}: {METRICS} and {TIMINGS} belong to different runs",
                    dir.display()
                );
            }
            table.metrics.push(row);
        }
        Ok(table)
    }

    /// The intact timings of a line of metrics.jsonl.
    fn timing(&self, line: usize) -> Option<&MetricsRow> {
        self.timings[self.pairs[line]?].as_ref()
    }

    /// How many lines of both files belong to `step` and before.
    fn n_until(&self, step: Option<u64>) -> [usize; 2] {
        let Some(step) = step else { return [0, 0] };
        let until = |lines: &[Line]| {
            let last = lines
                .iter()
                .rposition(|line| line.as_ref().is_some_and(|row| row.step <= step));
            last.map_or(0, |last| last + 1)
        };
        let [metrics, timings] = [until(&self.metrics), until(&self.timings)];
        // A damaged last line has a step in the other file. Where a line is missing altogether,
        // the files have their own numbers of lines.
        match self.metrics.len() == self.timings.len() {
            true => [metrics.max(timings); 2],
            false => [metrics, timings],
        }
    }

    /// Names the damaged and incomplete lines on stderr.
    fn report(&self, dir: &Path) {
        for name in &self.incomplete {
            let file = dir.join(name);
            say(format_args!(
                "{}: its last line is incomplete and left out",
                file.display()
            ));
        }
        for (name, lines) in [(METRICS, &self.metrics), (TIMINGS, &self.timings)] {
            let n = lines.iter().filter(|line| line.is_none()).count();
            if let Some(first) = lines.iter().position(Option::is_none) {
                say(format_args!(
                    "{}: {n} damaged {}, the first is line {}; kept in the file and not used",
                    dir.join(name).display(),
                    if n == 1 { "line" } else { "lines" },
                    first + 1
                ));
            }
        }
    }
}

/// Whether the logs of a run can be reopened; changes nothing.
pub(crate) fn check(dir: &Path) -> Result<()> {
    Table::read(dir).map(drop)
}

/// The rows of a run's metrics.jsonl, joined with timings.jsonl. A damaged row and an
/// incomplete last line are named on stderr and left out.
pub fn read_metrics(dir: &Path) -> Result<Vec<MetricsRow>> {
    let file = dir.join(METRICS);
    ensure!(
        file.exists(),
        "cannot read {}: no such file",
        file.display()
    );
    let table = Table::read(dir)?;
    table.report(dir);
    let join = |(i, row): (usize, &Line)| {
        let mut row = row.clone()?;
        if let Some(timing) = table.timing(i) {
            row.secs = timing.secs;
            row.metrics.extend(timing.metrics.clone());
        }
        Some(row)
    };
    Ok(table.metrics.iter().enumerate().filter_map(join).collect())
}
