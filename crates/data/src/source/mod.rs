//! Dataset formats: one file and one [`row::Source`] per format. A new format is a file, a variant
//! of [`Format`] and a line in [`SOURCES`]. `auto` takes the first source that fits the fields of
//! the first row.

mod alpaca;
mod chat;
mod collector;
mod comparison;
mod fastchat;
mod format;
mod hh;
mod pairs;
mod prompt_completion;
mod row;
mod rows;
mod text;

use crate::{Demonstration, Error, Preference, Prompt, Result};
use collector::{Collector, Want};
use row::{Kind, Row, Source};
use rows::Object;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

pub use format::Format;

/// The registry. `auto` tries formats in this order, the more specific first.
const SOURCES: [&Source; 9] = [
    &comparison::V2,
    &comparison::V1,
    &alpaca::SOURCE,
    &pairs::SOURCE,
    &hh::SOURCE,
    &chat::SOURCE,
    &fastchat::SOURCE,
    &prompt_completion::SOURCE,
    &text::SOURCE,
];

/// The records of a file, and how many of its rows were dropped and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded<T> {
    /// The records, in the order of the file.
    pub items: Vec<T>,
    /// Rows of the file.
    pub n_rows: usize,
    /// Rows dropped, by reason, e.g. `empty answer`.
    pub dropped: BTreeMap<String, usize>,
}

impl<T> Loaded<T> {
    /// Writes one line to stderr:
    /// `data/x.json: 6929 rows, 6900 used; dropped: 29 both answers equal`.
    pub fn report(&self, path: &Path) {
        let reasons = self
            .dropped
            .iter()
            .map(|(reason, n)| format!("{n} {reason}"));
        let reasons = reasons.collect::<Vec<_>>().join(", ");
        let dropped = if reasons.is_empty() {
            reasons
        } else {
            format!("; dropped: {reasons}")
        };
        eprintln!(
            "{}: {} rows, {} used{dropped}",
            path.display(),
            self.n_rows,
            self.items.len()
        );
    }
}

/// Reads prompts with the answer to imitate.
///
/// Errors, in one line with file and row: the file cannot be read, a row does not fit the format,
/// the format holds no demonstrations, or no row can be used.
pub fn demonstrations(path: &Path, format: Format) -> Result<Loaded<Demonstration>> {
    let (collector, n_rows) = read(path, format, Want::Demonstrations)?;
    finish(path, collector.demonstrations, n_rows, collector.dropped)
}

/// Reads prompts with a better and a worse answer. Errors as [`demonstrations`].
pub fn preferences(path: &Path, format: Format) -> Result<Loaded<Preference>> {
    let (collector, n_rows) = read(path, format, Want::Preferences)?;
    finish(path, collector.preferences, n_rows, collector.dropped)
}

/// Reads the prompts of any format, each once. Errors as [`demonstrations`].
pub fn prompts(path: &Path, format: Format) -> Result<Loaded<Prompt>> {
    let (mut collector, n_rows) = read(path, format, Want::Prompts)?;
    let mut seen = HashSet::new();
    let mut items = Vec::new();
    for prompt in std::mem::take(&mut collector.prompts) {
        match seen.insert(prompt.key()) {
            true => items.push(prompt),
            false => collector.drop_row("repeated prompt"),
        }
    }
    finish(path, items, n_rows, collector.dropped)
}

fn finish<T>(
    path: &Path,
    items: Vec<T>,
    n_rows: usize,
    dropped: BTreeMap<String, usize>,
) -> Result<Loaded<T>> {
    if items.is_empty() {
        let reasons = dropped.iter().map(|(reason, n)| format!("{n} {reason}"));
        let reasons = reasons.collect::<Vec<_>>().join(", ");
        return Err(Error(format!(
            "{}: none of its {n_rows} rows can be used: {reasons}",
            path.display()
        )));
    }
    Ok(Loaded {
        items,
        n_rows,
        dropped,
    })
}

fn read(path: &Path, format: Format, want: Want) -> Result<(Collector, usize)> {
    let mut collector = Collector::new(want);
    let mut n_rows = 0;
    let mut source: Option<&Source> = SOURCES.into_iter().find(|s| s.format == format);
    rows::for_each_row(path, &mut |number, object| {
        let source = match source {
            Some(source) => source,
            None => *source.insert(sniff(path, number, object)?),
        };
        if n_rows == 0 {
            check_kind(path, source, want)?;
        }
        n_rows += 1;
        (source.read)(
            &Row {
                path,
                number,
                object,
                source,
            },
            &mut collector,
        )
    })?;
    Ok((collector, n_rows))
}

fn sniff(path: &Path, number: usize, object: &Object) -> Result<&'static Source> {
    SOURCES
        .into_iter()
        .find(|s| (s.fits)(object))
        .ok_or_else(|| {
            let has = object
                .keys()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(", ");
            let known = SOURCES.iter().map(|s| format!("{} ({})", s.name, s.fields));
            let known = known.collect::<Vec<_>>().join("; ");
            rows::row_error(
                path,
                number,
                format!("fields {has} fit no known format; looked for {known}"),
            )
        })
}

fn check_kind(path: &Path, source: &Source, want: Want) -> Result<()> {
    let wanted = match (want, source.kind) {
        (Want::Prompts, _)
        | (Want::Demonstrations, Kind::Demonstrations)
        | (Want::Preferences, Kind::Preferences) => return Ok(()),
        (Want::Demonstrations, _) => {
            "prompts with one answer (Alpaca, prompt/completion, chat messages, text)"
        }
        (Want::Preferences, _) => {
            "pairs of answers (GPT-4-LLM comparison, HH, prompt/chosen/rejected)"
        }
    };
    let holds = match source.kind {
        Kind::Demonstrations => "demonstrations",
        Kind::Preferences => "preferences",
        Kind::Questions => "questions without answers",
    };
    let (path, name) = (path.display(), source.name);
    Err(Error(format!(
        "{path}: holds {holds} ({name} rows), but this stage needs {wanted}"
    )))
}
