//! Which files of a directory are read: those of one split, by the names of files and folders.

use crate::names::{SPLIT_WORDS, TRAIN};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Files that are read, and those that are left out.
pub(crate) type Chosen = (Vec<PathBuf>, Vec<PathBuf>);

/// The directory and the split of `DIRECTORY:SPLIT`. None where a file or directory has that whole
/// name, or none has that of the directory.
pub(crate) fn named(path: &Path) -> Option<(&Path, &str)> {
    let (directory, split) = path.to_str()?.rsplit_once(':')?;
    let directory = Path::new(directory);
    let is_split = !split.is_empty() && !split.contains('/') && !path.exists();
    (is_split && directory.is_dir()).then_some((directory, split))
}

/// The files to train on, and those that are left out: files that are named as those of another
/// split, where there are others; and where some are named as training files, all but these.
pub(crate) fn training_files(directory: &Path, files: Vec<PathBuf>) -> Chosen {
    let split = |file: &PathBuf| of_words(directory, file);
    let has_other = files.iter().any(|file| split(file).is_some_and(is_other));
    let has = |wanted| files.iter().any(|file| split(file) == wanted);
    let wanted = match (has_other, has(Some(TRAIN)), has(None)) {
        (true, true, _) => Some(TRAIN),
        (true, false, true) => None,
        _ => return (files, Vec::new()),
    };
    files.into_iter().partition(|file| split(file) == wanted)
}

/// The files of a split that a user names: one of [`SPLIT_WORDS`], or what a file or folder is
/// called. Errors: the splits that the names say, where none is this one.
pub(crate) fn files_of(
    directory: &Path,
    files: Vec<PathBuf>,
    split: &str,
) -> Result<Chosen, Vec<String>> {
    let known = SPLIT_WORDS.iter().find(|(_, words)| words.contains(&split));
    let of = |file: &PathBuf| of_words(directory, file);
    let has_train = files.iter().any(|file| of(file) == Some(TRAIN));
    if let Some((TRAIN, _)) = known
        && !has_train
        && files.iter().any(|file| of(file).is_none())
    {
        return Ok(training_files(directory, files));
    }
    let is_wanted = |file: &PathBuf| match known {
        Some((wanted, _)) => of(file) == Some(wanted),
        None => parts(directory, file).contains(&split.to_string()),
    };
    if !files.iter().any(is_wanted) {
        let splits: BTreeSet<&str> = files.iter().filter_map(of).collect();
        return Err(splits.into_iter().map(String::from).collect());
    }
    Ok(files.into_iter().partition(is_wanted))
}

/// Whether a file is of the training split by its name.
pub(crate) fn is_train(directory: &Path, file: &Path) -> bool {
    of_words(directory, file) == Some(TRAIN)
}

fn is_other(split: &str) -> bool {
    split != TRAIN
}

/// The split of a file by the words of its name, then by those of its folders below the directory,
/// the innermost first.
fn of_words(directory: &Path, file: &Path) -> Option<&'static str> {
    let below = file.strip_prefix(directory).unwrap_or(file);
    below.iter().rev().find_map(|part| {
        let part = part.to_string_lossy().to_ascii_lowercase();
        let mut words = part.split(|c: char| !c.is_ascii_alphabetic());
        words.find_map(|word| {
            let split = SPLIT_WORDS.iter().find(|(_, words)| words.contains(&word));
            split.map(|(name, _)| *name)
        })
    })
}

/// The folders of a file below the directory, and its name without endings and the number of its
/// part: `train_sft` of `train_sft-00000-of-00003.parquet`.
fn parts(directory: &Path, file: &Path) -> Vec<String> {
    let below = file.strip_prefix(directory).unwrap_or(file);
    let folders = below.parent().into_iter().flat_map(Path::iter);
    let mut parts: Vec<String> = folders
        .map(|folder| folder.to_string_lossy().into())
        .collect();
    let name = below.file_name().unwrap_or_default().to_string_lossy();
    let name = name.split('.').next().unwrap_or_default();
    let number = |text: &str| text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit());
    let stem = || {
        let (rest, of) = name.rsplit_once("-of-")?;
        let (stem, at) = rest.rsplit_once('-')?;
        (number(of) && number(at)).then_some(stem)
    };
    parts.push(stem().unwrap_or(name).to_string());
    parts
}
