//! TensorBoard event files, written without TensorFlow: TFRecord framing around `tensorflow.Event`
//! protobufs.
//!
//! A record is `length u64 LE | masked crc32c of the length | bytes | masked crc32c of the bytes`
//! (TensorFlow, `lib/io/record_writer.h`). Fields used (`event.proto`, `summary.proto`):
//! Event { wall_time = 1 double, step = 2 int64, file_version = 3 string, summary = 5 },
//! Summary { value = 1 repeated }, Value { tag = 1 string, simple_value = 2 float }.

use anyhow::{Context, Result};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const WIRE_VARINT: u8 = 0;
const WIRE_64: u8 = 1;
const WIRE_BYTES: u8 = 2;
const WIRE_32: u8 = 5;
/// The length and its checksum before the bytes; the checksum of the bytes after them.
const HEADER_BYTES: usize = 12;
const FOOTER_BYTES: usize = 4;

/// Start of the file's name, by which TensorBoard finds it.
pub(crate) const EVENTS: &str = "events.out.tfevents.";

pub(crate) struct EventFile {
    file: File,
}

impl EventFile {
    /// Creates a file in `dir` with a name that TensorBoard finds, and writes the format's version.
    pub(crate) fn create(dir: &Path, now: SystemTime) -> Result<Self> {
        let secs = unix(now).as_secs();
        let path = dir.join(format!("{EVENTS}{secs:010}.run"));
        let mut version = wall_time(now);
        bytes_field(&mut version, 3, b"brain.Event:2");
        let mut file =
            File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        file.write_all(&frame(&version))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { file })
    }

    /// Opens the event file of `dir` and drops events after `step` (`None`: all events) and an
    /// incomplete last record. Creates a file if there is none.
    pub(crate) fn reopen(dir: &Path, step: Option<u64>, now: SystemTime) -> Result<Self> {
        let Some(path) = find(dir)? else {
            return Self::create(dir, now);
        };
        let old =
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let (kept, n_lost) = intact_up_to(&old, step);
        if n_lost > 0 {
            crate::say!(
                "{}: {n_lost} bytes are damaged or incomplete, and left out; metrics.jsonl has the \
                 same numbers",
                path.display()
            );
        }
        crate::files::atomic_write(&path, &kept)?;
        let file = File::options().append(true).open(&path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { file })
    }

    /// Writes one event with a scalar per metric. The format stores f32.
    pub(crate) fn scalars<'a>(
        &mut self,
        step: u64,
        now: SystemTime,
        metrics: impl Iterator<Item = (&'a String, &'a f64)>,
    ) -> Result<()> {
        let mut summary = Vec::new();
        for (tag, value) in metrics {
            let mut entry = Vec::new();
            bytes_field(&mut entry, 1, tag.as_bytes());
            entry.push(key(2, WIRE_32));
            entry.extend((*value as f32).to_le_bytes());
            bytes_field(&mut summary, 1, &entry);
        }
        let mut event = wall_time(now);
        event.push(key(2, WIRE_VARINT));
        varint(&mut event, step);
        bytes_field(&mut event, 5, &summary);
        self.file
            .write_all(&frame(&event))
            .context("cannot write the TensorBoard events")
    }
}

fn find(dir: &Path) -> Result<Option<PathBuf>> {
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(EVENTS) {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

/// The records of an event file up to `step`, without damaged ones and an incomplete last one.
/// Records without a step (the version) are kept.
pub fn events_up_to(file: &[u8], step: Option<u64>) -> Vec<u8> {
    intact_up_to(file, step).0
}

/// The same, and the number of bytes that are no intact record. Readers would stop at the first.
fn intact_up_to(file: &[u8], step: Option<u64>) -> (Vec<u8>, usize) {
    let (mut kept, mut n_lost) = (Vec::new(), 0);
    let mut rest = file;
    while let Some(skipped) = (0..rest.len()).find(|at| split_record(&rest[*at..]).is_some()) {
        let (record, after) = split_record(&rest[skipped..]).expect("just found");
        let event = &record[HEADER_BYTES..record.len() - FOOTER_BYTES];
        if step_of(event).is_none_or(|at| step.is_some_and(|last| at <= last)) {
            kept.extend(record);
        }
        n_lost += skipped;
        rest = after;
    }
    (kept, n_lost + rest.len())
}

/// The first record, framing included, and the rest; `None` if no intact record begins here.
fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, sum) = (bytes.get(..8)?, bytes.get(8..HEADER_BYTES)?);
    if sum != masked_crc(length) {
        return None;
    }
    let size = usize::try_from(u64::from_le_bytes(length.try_into().ok()?))
        .ok()?
        .checked_add(HEADER_BYTES + FOOTER_BYTES)?;
    let (record, after) = bytes.split_at_checked(size)?;
    let (event, sum) = record[HEADER_BYTES..].split_at(size - HEADER_BYTES - FOOTER_BYTES);
    (sum == masked_crc(event)).then_some((record, after))
}

/// The step of an event that [`EventFile`] wrote: the second field, after the wall time.
fn step_of(event: &[u8]) -> Option<u64> {
    let rest = event.get(9..)?;
    if rest.first() != Some(&key(2, WIRE_VARINT)) {
        return None;
    }
    let mut step = 0;
    for (i, byte) in rest[1..].iter().take(10).enumerate() {
        step |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some(step);
        }
    }
    None
}

fn wall_time(now: SystemTime) -> Vec<u8> {
    let mut event = vec![key(1, WIRE_64)];
    event.extend(unix(now).as_secs_f64().to_le_bytes());
    event
}

fn unix(now: SystemTime) -> Duration {
    now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
}

const fn key(field: u8, wire: u8) -> u8 {
    field << 3 | wire
}

fn bytes_field(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(key(field, WIRE_BYTES));
    varint(out, bytes.len() as u64);
    out.extend(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 & 0x7f | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn frame(event: &[u8]) -> Vec<u8> {
    let length = (event.len() as u64).to_le_bytes();
    [&length[..], &masked_crc(&length), event, &masked_crc(event)].concat()
}

fn masked_crc(bytes: &[u8]) -> [u8; 4] {
    let crc = crc32c::crc32c(bytes);
    crc.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}
