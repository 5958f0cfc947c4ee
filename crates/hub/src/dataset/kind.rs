//! The kinds of data files, by the ends of their names.

use crate::tree::TreeFile;
use std::collections::BTreeMap;

/// What is taken, for messages.
pub(super) const TAKEN: &str = "json, jsonl, csv, tsv, txt, parquet, and .gz or .zst of them";

/// A kind of data file; the first of two that are as frequent is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Parquet,
    Json,
    Csv,
    Text,
}

impl Kind {
    /// The kind of a file, also of a compressed one; None if it is no data file that is read.
    pub fn of(path: &str) -> Option<Self> {
        let name = path.to_ascii_lowercase();
        let name = name
            .strip_suffix(".gz")
            .or(name.strip_suffix(".zst"))
            .unwrap_or(&name);
        let name = name.rsplit('/').next().unwrap_or(name);
        match name.rsplit_once('.')?.1 {
            "parquet" => Some(Self::Parquet),
            "json" | "jsonl" => Some(Self::Json),
            "csv" | "tsv" => Some(Self::Csv),
            "txt" => Some(Self::Text),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Json => "JSON",
            Self::Csv => "CSV",
            Self::Text => "text",
        }
    }
}

/// The files of the most frequent kind, as the library `datasets` takes them, and what was left
/// out.
pub(super) fn of_one_kind(files: Vec<TreeFile>) -> (Vec<TreeFile>, Option<String>) {
    let mut counts: BTreeMap<Kind, usize> = BTreeMap::new();
    for kind in files.iter().filter_map(|file| Kind::of(&file.path)) {
        *counts.entry(kind).or_default() += 1;
    }
    // Of two with the same count the first in order.
    let most = counts.iter().rev().max_by_key(|(_, n)| **n);
    let most = most.map(|(kind, _)| *kind);
    let (taken, other): (Vec<_>, Vec<_>) = files
        .into_iter()
        .partition(|file| Kind::of(&file.path) == most && most.is_some());
    let name = most.map_or("data", Kind::name);
    let note = (!other.is_empty()).then(|| {
        format!(
            "only {name} files are read; left out: {}",
            by_ending(&other)
        )
    });
    (taken, note)
}

/// How many files have which ending: `2 .png, 1 .arrow`.
pub(super) fn by_ending(files: &[TreeFile]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for file in files {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        let ending = name.find('.').map_or(name, |at| &name[at..]);
        *counts.entry(ending.to_string()).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let n_more = counts.len().saturating_sub(5);
    let shown = counts
        .iter()
        .take(5)
        .map(|(ending, n)| format!("{n} {ending}"));
    let mut shown = shown.collect::<Vec<_>>().join(", ");
    if n_more > 0 {
        shown += &format!(" and {n_more} other endings");
    }
    shown
}
