//! Dataset formats: one file and one [`row::Source`] per format. A new format is a file, a variant
//! of [`Format`] and a line in [`SOURCES`]. `auto` takes the first source that fits the fields of
//! the first row.

mod alpaca;
mod by_row;
mod chat;
mod collector;
mod comparison;
mod fastchat;
mod format;
mod hh;
mod pairs;
mod prompt;
mod prompt_completion;
mod row;
mod text;
mod transcript;
mod unused;

use crate::{Demonstration, Error, Origin, Preference, Prompt, Result};
use collector::{Collector, Want};
use row::{Kind, Row, Source};
use row_files::{Object, TOO_BIG};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use by_row::{RowPrompt, prompts_by_row};
pub use format::{Format, ReadOptions};
pub use unused::unused_fields;

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
    /// What a user should know of the rows that are used, a line each.
    pub notes: Vec<String>,
    /// SHA-256 of the bytes that were read, in hexadecimal.
    pub sha256: String,
}

/// A file that was read, and the SHA-256 of its bytes as they were read, in hexadecimal.
#[derive(Clone, Debug, PartialEq)]
pub struct DataFile {
    /// Its name in the settings.
    pub path: PathBuf,
    /// Of the bytes that the rows come from, even if the file has changed since or was a pipe.
    pub sha256: String,
}

/// The data files of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct DataFiles {
    /// Of the training rows
    pub train: DataFile,
    /// Of the held-out rows, if they have one of their own
    pub eval: Option<DataFile>,
    /// The keys of the training prompts, ascending, each once
    pub prompts: Vec<u64>,
}

impl<T> Loaded<T> {
    /// The file that the records come from.
    pub fn file(&self, path: &Path) -> DataFile {
        DataFile {
            path: path.to_path_buf(),
            sha256: self.sha256.clone(),
        }
    }

    /// Rows dropped because they are longer than any context.
    pub fn n_too_big(&self) -> usize {
        self.dropped.get(TOO_BIG).copied().unwrap_or(0)
    }

    /// Writes the counts to stderr in one line,
    /// `data/x.json: 6929 rows, 6900 used; dropped: both answers equal (29)`, and then the notes.
    pub fn report(&self, path: &Path) {
        let dropped = match reasons(&self.dropped) {
            none if none.is_empty() => none,
            some => format!("; dropped: {some}"),
        };
        run::say!(
            "{}: {} rows, {} used{dropped}",
            path.display(),
            self.n_rows,
            self.items.len()
        );
        for note in &self.notes {
            run::say!("{}: {note}", path.display());
        }
    }
}

/// Reads prompts with the answer to imitate.
///
/// Errors, in one line with file and row: the file cannot be read, a row does not fit the format,
/// a field that nothing reads would change what the row means, the format holds no demonstrations,
/// or no row can be used.
pub fn demonstrations(
    path: &Path,
    options: impl Into<ReadOptions>,
) -> Result<Loaded<Demonstration>> {
    let mut read = read(path, &options.into(), Want::Demonstrations)?;
    let items = std::mem::take(&mut read.collector.demonstrations);
    read.finish(path, items)
}

/// Reads prompts with a better and a worse answer. Errors as [`demonstrations`].
pub fn preferences(path: &Path, options: impl Into<ReadOptions>) -> Result<Loaded<Preference>> {
    let mut read = read(path, &options.into(), Want::Preferences)?;
    let items = std::mem::take(&mut read.collector.preferences);
    read.finish(path, items)
}

/// Reads the prompts of any format, each once. Errors as [`demonstrations`].
pub fn prompts(path: &Path, options: impl Into<ReadOptions>) -> Result<Loaded<Prompt>> {
    let mut read = read(path, &options.into(), Want::Prompts)?;
    let (items, n_repeated) = each_prompt_once(std::mem::take(&mut read.collector.prompts));
    read.collector.drop_rows("repeated prompt", n_repeated);
    read.finish(path, items)
}

/// The prompts without those that came before, wherever, and how many those are.
///
/// ```
/// let prompt = |text: &str| data::Prompt::new(data::Ask::instruction(text), None);
/// let (once, n) = data::each_prompt_once(["a", "b", "a"].map(prompt).to_vec());
/// assert_eq!((once, n), (["a", "b"].map(prompt).to_vec(), 1));
/// ```
pub fn each_prompt_once(mut prompts: Vec<Prompt>) -> (Vec<Prompt>, usize) {
    let n = prompts.len();
    let mut seen = HashSet::new();
    prompts.retain(|prompt| seen.insert(prompt.key()));
    let n_repeated = n - prompts.len();
    (prompts, n_repeated)
}

/// A file that was read.
struct ReadFile {
    collector: Collector,
    /// The rows that gave prompts, if prompts were wanted
    prompt_rows: Vec<PromptRow>,
    n_rows: usize,
    sha256: String,
}

/// A row with a prompt.
struct PromptRow {
    number: usize,
    id: Option<Value>,
    /// The place of its first prompt
    first: usize,
}

impl ReadFile {
    fn finish<T>(self, path: &Path, items: Vec<T>) -> Result<Loaded<T>> {
        let (notes, dropped) = (self.collector.notes(), self.collector.dropped);
        if items.is_empty() {
            return Err(Error(format!(
                "{}: none of its rows can be used: {}",
                path.display(),
                reasons(&dropped)
            )));
        }
        Ok(Loaded {
            items,
            n_rows: self.n_rows,
            dropped,
            notes,
            sha256: self.sha256,
        })
    }
}

fn read(path: &Path, options: &ReadOptions, want: Want) -> Result<ReadFile> {
    let mut collector = Collector::new(want);
    let shared: Arc<Path> = path.into();
    let (mut n_rows, mut prompt_rows) = (0, Vec::new());
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
        let (row, before) = (
            Row::new(path, number, object, source),
            collector.n_records(),
        );
        (source.read)(&row, &mut collector)?;
        if collector.n_records() > before {
            if want == Want::Prompts {
                let id = object.get("question_id").or_else(|| object.get("id"));
                prompt_rows.push(PromptRow {
                    number,
                    id: id.cloned(),
                    first: before,
                });
            }
            for field in row.unused(options)? {
                *collector.unused.entry(field).or_default() += 1;
            }
        }
        Ok::<_, Error>(ControlFlow::Continue(()))
    })?;
    collector.drop_rows(TOO_BIG, file.n_too_big);
    Ok(ReadFile {
        collector,
        prompt_rows,
        n_rows: n_rows + file.n_too_big,
        sha256: file.sha256.unwrap_or_default(),
    })
}

/// Why rows were dropped, and how many: `empty answer (3), repeated prompt (1)`.
fn reasons(dropped: &BTreeMap<String, usize>) -> String {
    let reasons = dropped.iter().map(|(reason, n)| format!("{reason} ({n})"));
    reasons.collect::<Vec<_>>().join(", ")
}

fn sniff(path: &Path, number: usize, object: &Object, want: Want) -> Result<&'static Source> {
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

fn check_kind(path: &Path, source: &Source, want: Want) -> Result<()> {
    if holds(source.kind, want) {
        return Ok(());
    }
    let wanted = match want {
        Want::Prompts => "prompts; write each as a row {\"prompt\": …} of a .jsonl file",
        Want::Demonstrations => {
            "prompts with one answer (Alpaca, prompt/completion, chat messages, text)"
        }
        Want::Preferences => "pairs of answers (GPT-4-LLM comparison, HH, prompt/chosen/rejected)",
    };
    let holds = match source.kind {
        Kind::Demonstrations => "demonstrations",
        Kind::Preferences => "preferences",
        Kind::Questions => "questions without answers",
        Kind::Texts => "texts without prompts",
    };
    let (path, name) = (path.display(), source.name);
    Err(Error(format!(
        "{path}: holds {holds} ({name} rows), but this stage needs {wanted}"
    )))
}
