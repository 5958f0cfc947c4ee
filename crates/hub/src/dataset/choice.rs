//! The files that a name stands for, and how a subset and a split are chosen among several.

use super::kind::{by_ending, of_one_kind};
use super::spec::DatasetSpec;
use super::split_names::{Splits, TRAIN, meant};
use crate::tree::TreeFile;
use crate::{Error, Result};

/// A longer list of names is cut.
const MAX_LISTED: usize = 30;

/// What was chosen in a revision.
#[derive(Debug)]
pub(super) struct Choice {
    pub files: Vec<TreeFile>,
    /// `subset default, split train`, or the path.
    pub what: String,
    /// What the user should know of it.
    pub notes: Vec<String>,
}

/// Names for a message: all of a few, the first of many.
pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let shown = names[..names.len().min(MAX_LISTED)].join(", ");
    match names.len().saturating_sub(MAX_LISTED) {
        0 => shown,
        n => format!("{shown} and {n} more"),
    }
}

/// The subset that is taken where none is named: the only one, or the default one.
pub(super) fn default_subset<'a>(
    spec: &DatasetSpec,
    names: &[&'a str],
    marked: Option<&'a str>,
) -> Result<&'a str> {
    let by_name = || names.iter().find(|name| **name == "default").copied();
    match names {
        [only] => Ok(*only),
        _ => marked.or_else(by_name).ok_or_else(|| {
            let (id, first) = (&spec.id, names.first().unwrap_or(&"SUBSET"));
            Error(format!(
                "{spec}: the data set has several subsets, none of them the default; name one, as \
                 in hub:{id}/{first}: {}",
                listed(names.iter().copied())
            ))
        }),
    }
}

/// The files of the wanted split, of one kind, with notes on the rest.
pub(super) fn of_split(spec: &DatasetSpec, subset: &str, mut splits: Splits) -> Result<Choice> {
    let wanted = spec.split.as_deref().unwrap_or(TRAIN);
    let name = match splits.contains_key(wanted) {
        true => wanted,
        false => meant(wanted)
            .filter(|name| splits.contains_key(*name))
            .unwrap_or(wanted),
    };
    let Some(files) = splits.remove(name) else {
        let found = match splits.is_empty() {
            true => "it has no data files".to_string(),
            false => format!(
                "its splits are {}; name one, as in :{}",
                listed(splits.keys().map(String::as_str)),
                splits.keys().next().map_or("SPLIT", String::as_str)
            ),
        };
        return Err(Error(format!(
            "{spec}: subset {subset} has no split {wanted}; {found}"
        )));
    };
    let mut notes = Vec::new();
    if name != wanted {
        notes.push(format!("split {wanted} is the data set's {name}"));
    }
    if !splits.is_empty() {
        let other = listed(splits.keys().map(String::as_str));
        notes.push(format!("other splits, left out: {other}"));
    }
    let (files, note) = of_one_kind(files);
    notes.extend(note);
    let what = format!("subset {subset}, split {name}");
    Ok(Choice { files, what, notes })
}

/// A note on files that are no data files of a kind that is read.
pub(super) fn left_out(files: &[TreeFile]) -> Option<String> {
    let text = || format!("not read: {}", by_ending(files));
    (!files.is_empty()).then(text)
}
