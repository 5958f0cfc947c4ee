//! One kind of data file out of several.

use crate::tree::TreeFile;
use row_files::FileKind;
use std::collections::BTreeMap;

/// The files of the most frequent kind, as the library `datasets` takes them, and what was left
/// out.
pub(super) fn of_one_kind(files: Vec<TreeFile>) -> (Vec<TreeFile>, Option<String>) {
    let mut counts: BTreeMap<FileKind, usize> = BTreeMap::new();
    for kind in files.iter().filter_map(|file| FileKind::of(&file.path)) {
        *counts.entry(kind).or_default() += 1;
    }
    // Of two with the same count the first in order.
    let most = counts.iter().rev().max_by_key(|(_, n)| **n);
    let most = most.map(|(kind, _)| *kind);
    let (taken, other): (Vec<_>, Vec<_>) = files
        .into_iter()
        .partition(|file| FileKind::of(&file.path) == most && most.is_some());
    let name = most.map_or("data", FileKind::name);
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
