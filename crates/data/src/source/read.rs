//! Reads the rows of a path in their formats, a row at a time.

use super::collector::{Collector, Want};
use super::columns::{Columns, visible};
use super::format::ReadOptions;
use super::row::{Row, Source};
use super::sniff::format_of;
use crate::{Error, Only, Origin, Result};
use hub::{DatasetSpec, HubSettings};
use row_files::{DataFileList, Object, TOO_BIG};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Why a row is dropped that `data.only` does not take.
pub(super) const NOT_MATCHED: &str = "not matched by data.only";

/// What was read of a path, and which of its rows were dropped and why.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// Rows of all files.
    pub n_rows: usize,
    /// Rows dropped, by reason, e.g. `empty answer`.
    pub dropped: BTreeMap<String, usize>,
    /// Records used.
    pub n_used: usize,
    /// What a user should know of the rows that are used, a line each.
    pub notes: Vec<String>,
    /// The files that were read, and the SHA-256 of their bytes as they were read, in hexadecimal.
    pub files: Vec<(PathBuf, String)>,
}

impl Counts {
    /// Counts rows that are not used.
    pub fn drop_rows(&mut self, reason: &str, n: usize) {
        if n > 0 {
            *self.dropped.entry(reason.to_string()).or_default() += n;
        }
    }

    /// Rows dropped because they are longer than any context.
    pub fn n_too_big(&self) -> usize {
        self.dropped.get(TOO_BIG).copied().unwrap_or(0)
    }

    /// The SHA-256 of the file; of several, of the lines of their hashes.
    pub fn sha256(&self) -> String {
        sha256_of(&self.files)
    }

    /// Adds what was read of another path of the same source.
    pub fn add(&mut self, other: Self) {
        self.n_rows += other.n_rows;
        self.n_used += other.n_used;
        for (reason, n) in other.dropped {
            self.drop_rows(&reason, n);
        }
        self.notes.extend(other.notes);
        self.files.extend(other.files);
    }

    /// Fails if no row can be used. `shown`: where they were read.
    pub fn require(&self, shown: &dyn std::fmt::Display, only: Option<&Only>) -> Result<()> {
        if self.n_used > 0 {
            return Ok(());
        }
        if let (Some(only), Some(n)) = (only, self.dropped.get(NOT_MATCHED)) {
            return Err(only.takes_none(shown, *n));
        }
        let why = reasons(&self.dropped);
        Err(Error(format!(
            "{shown}: none of its rows can be used: {why}"
        )))
    }

    /// The counts in one line,
    /// `data/x.json: 6929 rows, 6900 used; dropped: both answers equal (29)`, and then the notes.
    pub fn lines(&self, path: &Path) -> Vec<String> {
        let n_used = self.n_used;
        let dropped = match reasons(&self.dropped) {
            none if none.is_empty() => none,
            some => format!("; dropped: {some}"),
        };
        let files = match self.files.len() {
            0 | 1 => String::new(),
            n => format!("{n} files, "),
        };
        let shown = path.display();
        let counts = format!(
            "{shown}: {files}{} rows, {n_used} used{dropped}",
            self.n_rows
        );
        let notes = self.notes.iter().map(|note| format!("{shown}: {note}"));
        std::iter::once(counts).chain(notes).collect()
    }

    /// Says the lines on stderr.
    pub fn report(&self, path: &Path) {
        for line in self.lines(path) {
            run::say!("{line}");
        }
    }
}

/// The hash of one file, or that of the lines of the hashes of several, wherever these lie.
pub(crate) fn sha256_of(files: &[(PathBuf, String)]) -> String {
    if let [(_, hash)] = files {
        return hash.clone();
    }
    let lines = files.iter().map(|(_, hash)| format!("{hash}\n"));
    run::hash(lines.collect::<String>().as_bytes())
}

/// The files that a path of the settings names. Those of a data set of the hub are fetched where
/// the cache lacks them.
pub(crate) fn files_of(path: &Path) -> Result<DataFileList> {
    match path.to_str().and_then(DatasetSpec::parse) {
        Some(spec) => of_hub(path, &spec.map_err(hub_error)?),
        None if !path.exists() => match hub_name(path) {
            Some(name) => Err(Error(format!(
                "{}: no such file; for a data set of the hub write hub:{name}",
                path.display()
            ))),
            None => Ok(row_files::data_files(path)?),
        },
        None => Ok(row_files::data_files(path)?),
    }
}

/// The name of a data set of the hub, as a path without `hub:` or as its address.
fn hub_name(path: &Path) -> Option<&str> {
    const ADDRESSES: [&str; 2] = ["https://huggingface.co/datasets/", "hf://datasets/"];
    const ENDINGS: [&str; 12] = [
        ".json", ".jsonl", ".ndjson", ".txt", ".csv", ".tsv", ".parquet", ".pq", ".gz", ".gzip",
        ".zst", ".zstd",
    ];
    let text = path.to_str()?;
    let of_address = ADDRESSES.iter().find_map(|start| text.strip_prefix(start));
    let name = of_address.unwrap_or(text);
    let (org, rest) = name.split_once('/')?;
    let is_word = |part: &str| {
        let taken = |c: char| c.is_ascii_alphanumeric() || "-_.:@".contains(c);
        !part.is_empty() && !part.starts_with('.') && part.chars().all(taken)
    };
    let lower = name.to_lowercase();
    let is_file = ENDINGS.iter().any(|ending| lower.ends_with(ending));
    let n_parts = rest.split('/').count();
    let is_name = is_word(org) && rest.split('/').all(is_word) && n_parts <= 2 && !is_file;
    // a folder that is there has files, and a name in it is a mistyped one
    let is_here = of_address.is_none() && Path::new(org).exists();
    (is_name && !is_here).then_some(name)
}

/// Asks the hub once for each data set.
fn of_hub(path: &Path, spec: &DatasetSpec) -> Result<DataFileList> {
    static ASKED: Mutex<BTreeMap<PathBuf, DataFileList>> = Mutex::new(BTreeMap::new());
    let mut asked = ASKED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(list) = asked.get(path) {
        return Ok(list.clone());
    }
    let settings = HubSettings::from_env().map_err(hub_error)?;
    let found = hub::dataset_files(spec, &settings).map_err(hub_error)?;
    let list = DataFileList {
        files: found.files,
        notes: found.notes,
    };
    asked.insert(path.to_path_buf(), list.clone());
    Ok(list)
}

fn hub_error(error: hub::Error) -> Error {
    Error(error.to_string())
}

/// A row that gave records.
pub(super) struct ReadRow<'a> {
    /// Of the row in its file, from 1; of JSON lines, of the line.
    pub number: usize,
    pub object: &'a Object,
    pub collector: &'a mut Collector,
}

/// Reads the files of a path. `each` takes the records out of the collector, row by row.
pub(super) fn read_rows(
    path: &Path,
    options: &ReadOptions,
    want: Want,
    each: &mut dyn FnMut(ReadRow) -> Result<()>,
) -> Result<Counts> {
    let mut collector = Collector::new(want, options);
    let mut counts = Counts::default();
    let mut columns = Columns::new(options)?;
    let list = files_of(path)?;
    let mut notes = list.notes;
    let mut formats: BTreeMap<&str, Vec<PathBuf>> = BTreeMap::new();
    for file in list.files {
        let read = read_file(&file, (options, &mut columns), &mut collector, each)?;
        if let Some(format) = read.format {
            formats.entry(format).or_default().push(file.clone());
        }
        notes.extend(named_notes(path, &file, read.notes));
        counts.n_rows += read.n_rows;
        counts.files.push((file, read.sha256));
    }
    columns.require(path)?;
    if formats.len() > 1 {
        notes.push(several(&formats, path));
    }
    counts.notes = [notes, collector.notes(options.train_on)].concat();
    counts.dropped = collector.dropped;
    Ok(counts)
}

/// Reads a row's records into the collector.
pub(super) fn read_row(row: &Row, source: &Source, collector: &mut Collector) -> Result<()> {
    (source.read)(row, collector)?;
    if row.has_transcript() {
        collector.mark_transcript();
    }
    Ok(())
}

/// Says which files of a path are of which format.
fn several(formats: &BTreeMap<&str, Vec<PathBuf>>, path: &Path) -> String {
    const SHOWN: usize = 3;
    let shown = |file: &PathBuf| {
        let below = file.strip_prefix(path).unwrap_or(file);
        below.display().to_string()
    };
    let of_format = |(format, files): (&&str, &Vec<PathBuf>)| {
        let more = match files.len().saturating_sub(SHOWN) {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        let files: Vec<String> = files.iter().take(SHOWN).map(shown).collect();
        format!("{format} in {}{more}", files.join(", "))
    };
    let formats: Vec<String> = formats.iter().map(of_format).collect();
    format!(
        "its files have rows of several formats: {}",
        formats.join("; ")
    )
}

struct ReadFile {
    n_rows: usize,
    /// None: it has no rows
    format: Option<&'static str>,
    sha256: String,
    /// What was left out of it, a line each
    notes: Vec<String>,
}

/// Whether a file has null where a row lacks what others have.
pub(super) fn fills_up(path: &Path) -> bool {
    row_files::container(path).is_some_and(|file| file.what == "parquet")
}

fn read_file(
    path: &Path,
    (options, columns): (&ReadOptions, &mut Columns),
    collector: &mut Collector,
    each: &mut dyn FnMut(ReadRow) -> Result<()>,
) -> Result<ReadFile> {
    let shared: Arc<Path> = path.into();
    let (mut n_rows, mut is_used) = (0, false);
    let mut source: Option<&'static Source> = None;
    collector.fills_up = fills_up(path);
    let file = row_files::for_each_row(path, &options.ignore, &mut |number, object| {
        let object = &*columns.rename(path, number, object)?;
        let visible = &*visible(object, options);
        let source = match source {
            Some(source) => source,
            None => {
                let found = format_of((path, number, visible), options, collector.want);
                *source.insert(found.map_err(|e| columns.blamed(path, e))?)
            }
        };
        n_rows += 1;
        collector.origin = Origin::new(Arc::clone(&shared), number);
        let row = Row::new(path, (number, visible), source, options);
        read_row(&row, source, collector).map_err(|e| columns.blamed(path, e))?;
        if collector.n_records() > 0 {
            is_used = true;
            count(&row, options, collector)?;
            each(ReadRow {
                number,
                object,
                collector,
            })?;
        }
        Ok::<_, Error>(ControlFlow::Continue(()))
    })?;
    if let Some(error) = collector.malformed.take().filter(|_| !is_used) {
        return Err(error);
    }
    collector.drop_rows(TOO_BIG, file.n_too_big);
    Ok(ReadFile {
        n_rows: n_rows + file.n_too_big,
        format: source.map(|source| source.name),
        sha256: file.sha256.unwrap_or_default(),
        notes: file.notes,
    })
}

/// The notes on a file, with its name unless it is the path itself.
pub(super) fn named_notes(path: &Path, file: &Path, notes: Vec<String>) -> Vec<String> {
    if file == path {
        return notes;
    }
    let named = |note| format!("{}: {note}", file.display());
    notes.into_iter().map(named).collect()
}

/// Counts the remarks on a row that is used.
pub(super) fn count(row: &Row, options: &ReadOptions, collector: &mut Collector) -> Result<()> {
    for field in row.json_texts() {
        collector.count_json_text(field);
    }
    for field in row.unused(options)? {
        *collector.unused.entry(field).or_default() += 1;
    }
    let is_learnt = match collector.want {
        Want::Prompts => collector.prompts.iter().any(|p| p.reference.is_some()),
        Want::Demonstrations | Want::Preferences => true,
    };
    for remark in row.remarks(is_learnt) {
        collector.remark(remark, 1);
    }
    Ok(())
}

/// Why rows were dropped, and how many: `empty answer (3), repeated prompt (1)`.
fn reasons(dropped: &BTreeMap<String, usize>) -> String {
    let reasons = dropped.iter().map(|(reason, n)| format!("{reason} ({n})"));
    reasons.collect::<Vec<_>>().join(", ")
}
