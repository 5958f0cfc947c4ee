//! The rows of a path as every stage would take them. Where a stage would stop with an error, this
//! hands the error to the caller and goes on with the next row.

use super::Record;
use super::collector::{Collector, Want};
use super::columns::{Columns, visible};
use super::format::ReadOptions;
use super::read::{count, files_of, fills_up, named_notes, read_row};
use super::row::{Row, Source};
use super::sniff::format_of;
use super::unused::is_empty;
use crate::{Demonstration, Error, Origin, Preference, Prompt, Result};
use row_files::Object;
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What becomes of a field that says something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FieldUse {
    Used,
    /// It describes the row, and the format passes over it
    Descriptive,
    /// `data.ignore` names it
    Ignored,
    /// Nothing reads it; it is named when the rows are read
    Unused,
    /// The row is refused because of it, and why
    Refused(String),
}

/// What a stage takes of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Taken<T> {
    /// Name and fields of the format that the row is read in, for people
    pub format: Option<(&'static str, &'static str)>,
    /// The records; none where the row is dropped or refused
    pub records: Vec<T>,
    /// Why the row, or a part of it, is dropped
    pub dropped: Vec<String>,
    /// Why the stage would stop here, without file and row
    pub refused: Option<String>,
    /// The fields that say something, by name. Empty where the row could not be read.
    pub fields: Vec<(String, FieldUse)>,
}

/// A row as the stages would take it.
pub struct RowView<'a> {
    pub file: &'a Path,
    /// Of the row in its file, from 1; of JSON lines, of the line.
    pub number: usize,
    pub object: &'a Object,
    /// By sft
    pub demonstrations: Taken<Demonstration>,
    /// By reward-model
    pub preferences: Taken<Preference>,
    /// By esrl-rlhf; repeated ones, too
    pub prompts: Taken<Prompt>,
}

/// A file that was read, or as much of it as can be.
#[derive(Clone, Debug, PartialEq)]
pub struct FileRows {
    pub path: PathBuf,
    /// With those that are too big
    pub n_rows: usize,
    /// Rows that are longer than any context; no row is handed out for them
    pub n_too_big: usize,
    /// Why it cannot be read to its end, with file and row
    pub error: Option<String>,
}

/// The files that a path names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PathRows {
    pub files: Vec<FileRows>,
    /// What was left out of a directory, a line each
    pub notes: Vec<String>,
    /// What each stage says of the rows that it uses, a line each
    pub stages: StageNotes,
}

/// The notes of each stage, as it prints them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StageNotes {
    /// Of sft
    pub demonstrations: Vec<String>,
    /// Of reward-model
    pub preferences: Vec<String>,
    /// Of esrl-rlhf
    pub prompts: Vec<String>,
}

/// Calls `each` for every row of a path until it breaks, whether a stage takes the row or not.
///
/// Errors: the path names no files; and whatever `each` fails with. A file that cannot be read is
/// none: [`FileRows::error`].
pub fn each_row(
    path: &Path,
    options: &ReadOptions,
    each: &mut dyn FnMut(RowView) -> Result<ControlFlow<()>>,
) -> Result<PathRows> {
    let mut columns = Columns::new(options)?;
    let list = files_of(path)?;
    let mut rows = PathRows {
        notes: list.notes,
        ..PathRows::default()
    };
    let wants = [Want::Demonstrations, Want::Preferences, Want::Prompts];
    let mut stages = wants.map(|want| StageReader::new(want, options));
    let mut stopped = false;
    for file in list.files {
        let mut reader = FileReader::new(&file, options, &mut stages);
        let mut failed = None;
        let whole = row_files::for_each_row(&file, &options.ignore, &mut |number, object| {
            let renamed = columns.rename(&file, number, object);
            let flow = renamed.and_then(|object| each(reader.row(number, &object)));
            let flow = flow.unwrap_or_else(|error| {
                failed = Some(error);
                ControlFlow::Break(())
            });
            stopped |= flow.is_break();
            Ok::<_, Error>(flow)
        });
        if let Some(error) = failed {
            return Err(error);
        }
        let (n_too_big, error) = match whole {
            Ok(whole) => {
                rows.notes.extend(named_notes(path, &file, whole.notes));
                (whole.n_too_big, None)
            }
            Err(error) => (0, Some(error.to_string())),
        };
        rows.files.push(FileRows {
            n_rows: reader.n_rows + n_too_big,
            n_too_big,
            error,
            path: file,
        });
        if stopped {
            break;
        }
    }
    if !stopped {
        columns.require(path)?;
    }
    let [demonstrations, preferences, prompts] =
        stages.map(|stage| stage.collector.notes(options.train_on));
    rows.stages = StageNotes {
        demonstrations,
        preferences,
        prompts,
    };
    Ok(rows)
}

/// Reads the rows of one file for three stages.
struct FileReader<'a> {
    path: &'a Path,
    shared: Arc<Path>,
    options: &'a ReadOptions,
    n_rows: usize,
    /// For sft, reward-model, esrl-rlhf
    stages: &'a mut [StageReader; 3],
}

/// Reads the rows of a path for one stage.
struct StageReader {
    collector: Collector,
    /// The format of the file, or why the stage refuses it; of its first row
    source: Option<std::result::Result<&'static Source, String>>,
}

impl StageReader {
    fn new(want: Want, options: &ReadOptions) -> Self {
        Self {
            collector: Collector::new(want, options),
            source: None,
        }
    }
}

impl<'a> FileReader<'a> {
    fn new(path: &'a Path, options: &'a ReadOptions, stages: &'a mut [StageReader; 3]) -> Self {
        for stage in &mut *stages {
            stage.source = None;
            stage.collector.fills_up = fills_up(path);
        }
        Self {
            path,
            shared: path.into(),
            options,
            n_rows: 0,
            stages,
        }
    }

    fn row<'r>(&mut self, number: usize, object: &'r Object) -> RowView<'r>
    where
        'a: 'r,
    {
        self.n_rows += 1;
        let origin = Origin::new(Arc::clone(&self.shared), number);
        let place = Place {
            path: self.path,
            number,
            object,
            visible: &visible(object, self.options),
            options: self.options,
            origin,
        };
        let [demonstrations, preferences, prompts] = &mut *self.stages;
        RowView {
            file: self.path,
            number,
            object,
            demonstrations: demonstrations.take(&place),
            preferences: preferences.take(&place),
            prompts: prompts.take(&place),
        }
    }
}

struct Place<'a> {
    path: &'a Path,
    number: usize,
    object: &'a Object,
    /// Without the fields that are ignored
    visible: &'a Object,
    options: &'a ReadOptions,
    origin: Origin,
}

impl Place<'_> {
    /// The message of an error without file and row.
    fn bare(&self, error: &Error) -> String {
        let text = error.to_string();
        let file = format!("{}: ", self.path.display());
        let text = text.strip_prefix(&file).unwrap_or(&text);
        let row = format!("row {}: ", self.number);
        text.strip_prefix(&row).unwrap_or(text).to_string()
    }
}

impl StageReader {
    fn take<T: Record>(&mut self, place: &Place) -> Taken<T> {
        let want = self.collector.want;
        let find = || -> std::result::Result<&'static Source, String> {
            let row = (place.path, place.number, place.visible);
            format_of(row, place.options, want).map_err(|error| place.bare(&error))
        };
        let mut taken = Taken {
            format: None,
            records: Vec::new(),
            dropped: Vec::new(),
            refused: None,
            fields: Vec::new(),
        };
        let source = match self.source.get_or_insert_with(find) {
            Ok(source) => *source,
            Err(why) => {
                taken.refused = Some(why.clone());
                return taken;
            }
        };
        taken.format = Some(source.shown_of(place.visible));
        let row = (place.number, place.visible);
        let row = Row::new(place.path, row, source, place.options);
        self.collector.origin = place.origin.clone();
        let read = read_row(&row, source, &mut self.collector);
        let is_used = self.collector.n_records() > 0;
        match read {
            Err(error) => taken.refused = Some(place.bare(&error)),
            Ok(()) => {
                let (fields, refused) = fields(&row, place);
                taken.fields = fields;
                taken.refused = refused.filter(|_| is_used);
            }
        }
        if is_used && taken.refused.is_none() {
            let counted = count(&row, place.options, &mut self.collector);
            taken.refused = counted.err().map(|error| place.bare(&error));
        }
        let records = T::take(&mut self.collector);
        taken.dropped = dropped(&mut self.collector);
        if taken.refused.is_none() {
            taken.records = records;
        }
        taken
    }
}

/// Why the row was dropped, each reason as often as it counts.
fn dropped(collector: &mut Collector) -> Vec<String> {
    let reasons = std::mem::take(&mut collector.dropped);
    let times = reasons.into_iter();
    times
        .flat_map(|(reason, n)| std::iter::repeat_n(reason, n))
        .collect()
}

/// What becomes of the fields of a row that was read, and why a stage would refuse it.
fn fields(row: &Row, place: &Place) -> (Vec<(String, FieldUse)>, Option<String>) {
    let (mut fields, mut refusal) = (Vec::new(), None);
    let mut options = place.options.clone();
    // Each refusal names one field; with that ignored the next one shows.
    let unused = loop {
        match row.unused(&options) {
            Ok(unused) => break unused,
            Err(error) => {
                let why = place.bare(&error);
                let name = why.split('"').nth(1).unwrap_or_default().to_string();
                if options.ignore.contains(&name) {
                    break Vec::new();
                }
                options.ignore.push(name.clone());
                fields.push((name, FieldUse::Refused(why.clone())));
                refusal.get_or_insert(why);
            }
        }
    };
    fields.extend(unused.into_iter().map(|name| (name, FieldUse::Unused)));
    let known: HashSet<String> = fields.iter().map(|(name, _)| name.clone()).collect();
    let says = place.object.iter().filter(|(_, value)| !is_empty(value));
    for (name, _) in says {
        if known.contains(name) {
            continue;
        }
        let becomes = match row.was_read(name) {
            true => FieldUse::Used,
            false if place.options.ignores(name) => FieldUse::Ignored,
            false => FieldUse::Descriptive,
        };
        fields.push((name.clone(), becomes));
    }
    fields.sort();
    (fields, refusal)
}
