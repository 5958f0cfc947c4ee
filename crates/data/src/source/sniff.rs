//! Finds the format of a file by its first row, and says why a stage cannot take it.

use super::collector::Want;
use super::pandas;
use super::row::{Kind, Source};
use super::unused::words;
use super::{Format, ReadOptions, SOURCES};
use crate::Result;
use row_files::{Object, row_error};
use std::path::Path;

/// The format of a file by its first row, or the one that `options` names.
///
/// Errors: no format fits the row, the stage cannot use its rows, or the row is a whole table.
pub(super) fn format_of(
    (path, number, row): (&Path, usize, &Object),
    options: &ReadOptions,
    want: Want,
) -> Result<&'static Source> {
    if let Some(what) = pandas::table(row) {
        return Err(row_error(path, number, what).into());
    }
    let given = SOURCES.into_iter().find(|s| s.format == options.format);
    let source = match given {
        Some(source) => source,
        None => sniff((path, number, row), options, want)?,
    };
    check_kind(path, source, row, want)?;
    Ok(source)
}

fn sniff(
    (path, number, row): (&Path, usize, &Object),
    options: &ReadOptions,
    want: Want,
) -> Result<&'static Source> {
    let fits = SOURCES.into_iter().find(|s| (s.fits)(row));
    let others = resembles(row, want);
    // A prompt alone is in every other format, too.
    let says_little = |s: &&Source| {
        s.format == Format::PromptCompletion
            && !row.contains_key("completion")
            && (want == Want::Preferences || (want == Want::Demonstrations && others.is_some()))
    };
    match fits {
        Some(source) if !says_little(&source) => Ok(source),
        _ => {
            let names = row.keys().map(String::as_str);
            let has = names.collect::<Vec<_>>().join(", ");
            let known = SOURCES.iter().filter(|s| holds(s.kind, want));
            let known = known.map(|s| format!("{} ({})", s.name, s.fields));
            let known = known.collect::<Vec<_>>().join("; ");
            let what = match (fits, want) {
                (None, _) => "known format",
                (_, Want::Preferences) => "format of pairs",
                _ => "format of prompts with one answer",
            };
            let ignored = match &options.ignore[..] {
                [] => String::new(),
                names => format!(" (data.ignore = {names:?})"),
            };
            let others = others.map_or_else(String::new, |others| format!(": {others}"));
            let what = format!("fields {has}{ignored} fit no {what}{others}; looked for {known}");
            Err(row_error(path, number, what).into())
        }
    }
}

/// What the fields of a row look like, if that is what another stage takes.
fn resembles(row: &Object, want: Want) -> Option<&'static str> {
    const PAIR: [&str; 11] = [
        "chosen",
        "rejected",
        "accepted",
        "preferred",
        "preference",
        "winner",
        "loser",
        "better",
        "worse",
        "best",
        "worst",
    ];
    const ANSWER: [&str; 8] = [
        "answer",
        "output",
        "completion",
        "response",
        "solution",
        "target",
        "messages",
        "conversations",
    ];
    let any = |known: &[&str]| {
        let mut words = row.keys().flat_map(|name| words(name));
        words.any(|word| known.contains(&word.as_str()))
    };
    // response_a, response_b; answer1, answer2
    let numbered = |ends: [&str; 2]| {
        let mut stems = row.keys().filter_map(|name| name.strip_suffix(ends[0]));
        stems.any(|stem| row.contains_key(&format!("{stem}{}", ends[1])))
    };
    let ends = [["_a", "_b"], ["_A", "_B"], ["1", "2"], ["0", "1"]];
    let is_pair = any(&PAIR) || ends.into_iter().any(numbered);
    match want {
        Want::Demonstrations if is_pair => Some(
            "they look like pairs of answers, which reward-model and dpo learn from, under other \
             names",
        ),
        Want::Preferences if !is_pair && any(&ANSWER) => {
            Some("they look like prompts with one answer, which sft learns from")
        }
        Want::Preferences if !is_pair && row.contains_key("prompt") => {
            Some("they look like prompts alone, which esrl-rlhf samples answers to")
        }
        _ => None,
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

fn check_kind(path: &Path, source: &Source, row: &Object, want: Want) -> Result<()> {
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
    let known = SOURCES.iter().filter(takes).map(|s| s.listed());
    let known = known.collect::<Vec<_>>().join(", ");
    let (path, (name, _)) = (path.display(), source.shown_of(row));
    Err(crate::Error(format!(
        "{path}: holds {what} ({name} rows), but this stage needs {wanted}: rows of {known}; \
         {advice}"
    )))
}
