//! Splits by the names of files and folders, as the library `datasets` finds them.

use crate::tree::TreeFile;
use row_files::{FileKind, SPLIT_WORDS};
use std::collections::BTreeMap;

/// The split that is read where none is named.
pub(super) use row_files::TRAIN;

const SEPARATORS: &str = "-._ 0123456789";

/// The files of each split, by name of the split.
pub(super) type Splits = BTreeMap<String, Vec<TreeFile>>;

/// The split that another name for it stands for.
pub(super) fn meant(name: &str) -> Option<&'static str> {
    let of = |(_, words): &&(&str, &[&str])| words.contains(&name);
    SPLIT_WORDS.iter().find(of).map(|(split, _)| *split)
}

/// The splits of files below a folder (empty: all). The first of these that any file fits decides:
/// `data/SPLIT-00000-of-00001.parquet`, the words in the names of folders, those in the names of
/// files. Without any all files are `train`.
pub(super) fn by_name(files: &[TreeFile], folder: &str) -> Splits {
    let readable = files
        .iter()
        .filter(|file| FileKind::of(&file.path).is_some());
    let files: Vec<(&TreeFile, &str)> = readable
        .map(|file| (file, file.path[folder.len()..].trim_start_matches('/')))
        .collect();
    let group = |splits_of: fn(&str) -> Vec<String>| {
        let mut splits = Splits::new();
        for (file, path) in &files {
            for split in splits_of(path) {
                splits.entry(split).or_default().push((*file).clone());
            }
        }
        splits
    };
    for splits_of in [sharded, of_folders, of_file_name] {
        let splits = group(splits_of);
        if !splits.is_empty() {
            return splits;
        }
    }
    group(|_| vec![TRAIN.to_string()])
}

/// `data/SPLIT-00000-of-00001*.*`
fn sharded(path: &str) -> Vec<String> {
    let split = || {
        let name = path
            .strip_prefix("data/")
            .filter(|name| !name.contains('/'))?;
        let (start, end) = name.rsplit_once("-of-")?;
        let (split, number) = start.rsplit_once('-')?;
        let is_number = |text: &str| text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit());
        let is_shard = is_number(number) && is_number(end.get(..5)?);
        (is_shard && !split.is_empty()).then(|| split.to_string())
    };
    split().into_iter().collect()
}

fn of_folders(path: &str) -> Vec<String> {
    let folders: Vec<&str> = path.split('/').rev().skip(1).collect();
    splits_of(|words| folders.iter().any(|folder| has_word(folder, words)))
}

fn of_file_name(path: &str) -> Vec<String> {
    let name = path.rsplit('/').next().unwrap_or_default();
    // the ending is no word
    let name = name.rsplit_once('.').map_or("", |(stem, _)| stem);
    splits_of(|words| has_word(name, words))
}

fn splits_of(fits: impl Fn(&[&str]) -> bool) -> Vec<String> {
    let splits = SPLIT_WORDS.iter().filter(|(_, words)| fits(words));
    splits.map(|(split, _)| split.to_string()).collect()
}

/// Whether a name has one of the words between separators.
fn has_word(name: &str, words: &[&str]) -> bool {
    let mut parts = name.split(|c| SEPARATORS.contains(c));
    parts.any(|part| words.contains(&part))
}
