//! Reads the rows of a path in their formats, a row at a time.

use super::collector::{Collector, Want};
use super::format::ReadOptions;
use super::row::{Kind, Row, Source};
use super::{Format, SOURCES};
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
        None => Ok(row_files::data_files(path)?),
    }
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
    let mut collector = Collector::new(want);
    let mut counts = Counts::default();
    let list = files_of(path)?;
    for file in list.files {
        let read = read_file(&file, options, &mut collector, each)?;
        counts.n_rows += read.n_rows;
        counts.files.push((file, read.sha256));
    }
    counts.notes = [list.notes, collector.notes(options.train_on)].concat();
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

struct ReadFile {
    n_rows: usize,
    sha256: String,
}

fn read_file(
    path: &Path,
    options: &ReadOptions,
    collector: &mut Collector,
    each: &mut dyn FnMut(ReadRow) -> Result<()>,
) -> Result<ReadFile> {
    let (shared, want): (Arc<Path>, _) = (path.into(), collector.want);
    let (mut n_rows, mut is_used) = (0, false);
    let mut source: Option<&Source> = SOURCES.into_iter().find(|s| s.format == options.format);
    let file = row_files::for_each_row(path, &mut |number, object| {
        let source = match source {
            Some(source) => source,
            None => *source.insert(sniff(path, number, object, want)?),
        };
        if n_rows == 0 {
            check_kind(path, source, want)?;
        }
        n_rows += 1;
        collector.origin = Origin::new(Arc::clone(&shared), number);
        let row = Row::new(path, number, object, source);
        read_row(&row, source, collector)?;
        if collector.n_records() > 0 {
            is_used = true;
            for field in row.json_texts() {
                *collector.json_texts.entry(field).or_default() += 1;
            }
            for field in row.unused(options)? {
                *collector.unused.entry(field).or_default() += 1;
            }
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
        sha256: file.sha256.unwrap_or_default(),
    })
}

/// Why rows were dropped, and how many: `empty answer (3), repeated prompt (1)`.
fn reasons(dropped: &BTreeMap<String, usize>) -> String {
    let reasons = dropped.iter().map(|(reason, n)| format!("{reason} ({n})"));
    reasons.collect::<Vec<_>>().join(", ")
}

pub(super) fn sniff(
    path: &Path,
    number: usize,
    object: &Object,
    want: Want,
) -> Result<&'static Source> {
    let fits = SOURCES.into_iter().find(|s| (s.fits)(object));
    // A prompt alone is in every other format, too.
    let says_little = |s: &&Source| {
        s.format == Format::PromptCompletion
            && want == Want::Preferences
            && !object.contains_key("completion")
    };
    match fits {
        Some(source) if !says_little(&source) => Ok(source),
        _ => {
            let names = object.keys().map(String::as_str);
            let has = names.collect::<Vec<_>>().join(", ");
            let all = fits.is_none();
            let known = SOURCES.iter().filter(|s| holds(s.kind, want));
            let known = known.map(|s| format!("{} ({})", s.name, s.fields));
            let known = known.collect::<Vec<_>>().join("; ");
            let what = if all {
                "known format"
            } else {
                "format of pairs"
            };
            let what = format!("fields {has} fit no {what}; looked for {known}");
            Err(row_files::row_error(path, number, what).into())
        }
    }
}

/// Whether rows of this kind hold what is wanted.
fn holds(kind: Kind, want: Want) -> bool {
    match want {
        Want::Prompts => kind != Kind::Texts,
        Want::Demonstrations => matches!(kind, Kind::Demonstrations | Kind::Texts),
        Want::Preferences => kind == Kind::Preferences,
    }
}

const PAIRS: &str = "write a better and a worse answer to each prompt as a row {\"prompt\": …, \
                     \"chosen\": …, \"rejected\": …}";

pub(super) fn check_kind(path: &Path, source: &Source, want: Want) -> Result<()> {
    if holds(source.kind, want) {
        return Ok(());
    }
    let wanted = match want {
        Want::Prompts => "prompts",
        Want::Demonstrations => "prompts with one answer",
        Want::Preferences => "pairs of answers",
    };
    let (what, advice) = match (source.kind, want) {
        (Kind::Texts, Want::Prompts) => (
            "texts without prompts",
            "write each prompt as a row {\"prompt\": …} of a .jsonl file",
        ),
        (Kind::Texts, _) => ("texts without prompts", PAIRS),
        (Kind::Questions, Want::Preferences) => ("questions without answers", PAIRS),
        (Kind::Questions, _) => (
            "questions without answers",
            "RLHF learns from them as prompts; else write rows {\"prompt\": …, \"completion\": …}",
        ),
        (Kind::Preferences, _) => (
            "preferences",
            "to learn the better answers alone, write them as rows {\"prompt\": …, \
             \"completion\": …}",
        ),
        (Kind::Demonstrations, _) if source.format == Format::Kto => (
            "answers with labels",
            "where a prompt has an answer of each label, write the two as a row {\"prompt\": …, \
             \"chosen\": …, \"rejected\": …}",
        ),
        (Kind::Demonstrations, _) => ("demonstrations", PAIRS),
    };
    let is_refused = |s: &&&Source| s.format == Format::Kto && want == Want::Demonstrations;
    let takes = |s: &&&Source| holds(s.kind, want) && !is_refused(s);
    let known = SOURCES.iter().filter(takes).map(|s| s.name);
    let known = known.collect::<Vec<_>>().join(", ");
    let (path, name) = (path.display(), source.name);
    Err(Error(format!(
        "{path}: holds {what} ({name} rows), but this stage needs {wanted}: rows of {known}; \
         {advice}"
    )))
}
