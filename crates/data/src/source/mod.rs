//! Dataset formats. One file per format, each with one [`Source`]; adding a format is that file, a variant of
//! [`Format`] and a line in [`SOURCES`]. `auto` takes the first source that the first row's fields fit.

mod alpaca;
mod chat;
mod comparison;
mod fastchat;
mod hh;
mod pairs;
mod prompt_completion;
mod row;
mod rows;
mod text;

use crate::{Demonstration, Error, Preference, Prompt, Result};
use row::{Row, Tray, Want};
use rows::Object;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

/// `auto` sniffs by the fields of the first row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    #[default]
    Auto,
    Alpaca,
    PromptCompletion,
    Chat,
    Text,
    ComparisonV1,
    ComparisonV2,
    Hh,
    Pairs,
    Fastchat,
}

/// What a format's rows hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Demonstrations,
    Preferences,
    Questions,
}

/// One dataset format.
struct Source {
    format: Format,
    /// For messages: `Alpaca`
    name: &'static str,
    /// For messages: `instruction, input, output`
    fields: &'static str,
    kind: Kind,
    /// Does a row with these fields look like it?
    fits: fn(&Object) -> bool,
    read: fn(&Row, &mut Tray) -> Result<()>,
}

/// The registry, the more specific before the less.
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

/// What was read, and what was left out and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded<T> {
    pub items: Vec<T>,
    /// Rows of the file.
    pub n_rows: usize,
    /// Count by reason, e.g. `empty answer`.
    pub dropped: BTreeMap<String, usize>,
}

impl<T> Loaded<T> {
    /// One line for the user to stderr: `data/x.json: 6929 rows, 6900 used; dropped: 29 both answers equal`.
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

/// Prompts with the answer to imitate.
pub fn demonstrations(path: &Path, format: Format) -> Result<Loaded<Demonstration>> {
    let (tray, n_rows) = read(path, format, Want::Demonstrations)?;
    finish(path, tray.demonstrations, n_rows, tray.dropped)
}

/// Prompts with a better and a worse answer.
pub fn preferences(path: &Path, format: Format) -> Result<Loaded<Preference>> {
    let (tray, n_rows) = read(path, format, Want::Preferences)?;
    finish(path, tray.preferences, n_rows, tray.dropped)
}

/// Prompts of any format (demonstrations and preferences give theirs), each once: the first row that asks it.
pub fn prompts(path: &Path, format: Format) -> Result<Loaded<Prompt>> {
    let (mut tray, n_rows) = read(path, format, Want::Prompts)?;
    let mut seen = HashSet::new();
    let mut items = Vec::new();
    for prompt in std::mem::take(&mut tray.prompts) {
        match seen.insert(prompt.key()) {
            true => items.push(prompt),
            false => tray.drop_row("repeated prompt"),
        }
    }
    finish(path, items, n_rows, tray.dropped)
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

fn read(path: &Path, format: Format, want: Want) -> Result<(Tray, usize)> {
    let mut tray = Tray::new(want);
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
            &mut tray,
        )
    })?;
    Ok((tray, n_rows))
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
