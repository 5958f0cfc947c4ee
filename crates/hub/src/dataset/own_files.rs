//! The files of a data set as its owner laid them out: by an explicit path, by the README's
//! `configs:`, or by the names of files and folders.

use super::card::Config;
use super::choice::{Choice, default_subset, left_out, listed, of_split};
use super::kind::by_ending;
use super::patterns::{below, matching};
use super::spec::DatasetSpec;
use super::split_names::{Splits, TRAIN, by_name, meant};
use crate::tree::{Tree, TreeFile};
use crate::{Error, Result};
use row_files::{FileKind, taken_endings};

/// The files that an explicit path stands for: a file, all below a folder, or those that match a
/// glob.
pub(super) fn at_path(spec: &DatasetSpec, path: &str, tree: &Tree) -> Result<Choice> {
    let fail = |why: String| Error(format!("{spec}: {why}"));
    let found = matching(tree, path).map_err(fail)?;
    if found.is_empty() {
        let (files, n) = (below(tree, ""), tree.files.len());
        let data = files.iter().map(|file| file.path.as_str());
        let data = listed(data.filter(|path| FileKind::of(path).is_some()));
        return Err(fail(match data.is_empty() {
            true => format!("the data set has no {path}, and no data files among its {n} files"),
            false => format!("the data set has no {path}; its data files are {data}"),
        }));
    }
    let (files, other): (Vec<_>, Vec<_>) = found.into_iter().partition(is_readable);
    if files.is_empty() {
        let endings = by_ending(&other);
        return Err(fail(format!(
            "{path} has no file that is read ({endings}); taken are {}",
            taken_endings()
        )));
    }
    let mut choice = match spec.split {
        Some(_) => of_split(spec, path, by_name(&files, ""))?,
        None => Choice {
            files,
            what: path.to_string(),
            notes: Vec::new(),
        },
    };
    choice.notes.extend(left_out(&other));
    Ok(choice)
}

/// Whether a path is in the repository.
pub(super) fn has_path(tree: &Tree, path: &str) -> bool {
    matching(tree, path).is_ok_and(|files| !files.is_empty())
}

/// The files that a name without an explicit path stands for.
pub(super) fn choose(spec: &DatasetSpec, tree: &Tree, configs: &[Config]) -> Result<Choice> {
    let names: Vec<&str> = configs.iter().map(|config| config.name.as_str()).collect();
    let config = match &spec.inside {
        Some(inside) => match configs.iter().find(|config| config.name == *inside) {
            Some(config) => config.clone(),
            None if has_path(tree, inside) => return at_path(spec, inside, tree),
            None if inside == "default" && configs.is_empty() => Config::default(),
            None if configs.is_empty() => return at_path(spec, inside, tree),
            None => {
                let names = listed(names);
                let why = format!("no subset, file or folder {inside}; its subsets are {names}");
                return Err(Error(format!("{spec}: {why}")));
            }
        },
        None if configs.is_empty() => Config::default(),
        None => {
            let marked = configs.iter().find(|config| config.is_default);
            let marked = marked.map(|config| config.name.as_str());
            let name = default_subset(spec, &names, marked)?;
            let named = configs.iter().find(|config| config.name == name);
            named.cloned().unwrap_or_default()
        }
    };
    let wanted = spec.split.as_deref().unwrap_or(TRAIN);
    let (splits, other) =
        splits(&config, tree, wanted).map_err(|why| Error(format!("{spec}: {why}")))?;
    if splits.values().all(Vec::is_empty) {
        return Err(Error(format!("{spec}: {}", why_empty(tree, &other))));
    }
    let subset = match config.name.as_str() {
        "" => "default",
        name => name,
    };
    let mut choice = of_split(spec, subset, splits)?;
    if choice.files.is_empty() {
        let what = &choice.what;
        return Err(Error(format!(
            "{spec}: {what} has no file that is read; taken are {}",
            taken_endings()
        )));
    }
    choice.notes.extend(left_out(&other));
    if let Some(script) = script(tree) {
        let note = format!("{script} is not run: the data files are read as they are");
        choice.notes.push(note);
    }
    Ok(choice)
}

/// The readable files of each split of a subset, and the files that are not read. The patterns of
/// the wanted split must match.
fn splits(
    config: &Config,
    tree: &Tree,
    wanted: &str,
) -> std::result::Result<(Splits, Vec<TreeFile>), String> {
    let folder = &config.data_dir;
    let Some(data_files) = &config.data_files else {
        let (files, other): (Vec<_>, Vec<_>) =
            below(tree, folder).into_iter().partition(is_readable);
        return Ok((by_name(&files, folder), other));
    };
    let (mut splits, mut other) = (Splits::new(), Vec::new());
    for (split, patterns) in data_files {
        let files = splits.entry(split.clone()).or_default();
        for pattern in patterns {
            let pattern = match folder.as_str() {
                "" => pattern.clone(),
                folder => format!("{folder}/{pattern}"),
            };
            let found = matching(tree, &pattern)?;
            // Other splits may be missing from a cache.
            if found.is_empty() && (split == wanted || Some(split.as_str()) == meant(wanted)) {
                let name = &config.name;
                return Err(format!(
                    "README.md: subset {name}, split {split}: no file matches {pattern:?}"
                ));
            }
            for file in found {
                if !is_readable(&file) {
                    other.push(file);
                } else if !files.contains(&file) {
                    files.push(file);
                }
            }
        }
    }
    Ok((splits, other))
}

fn is_readable(file: &TreeFile) -> bool {
    FileKind::of(&file.path).is_some()
}

/// A loading script at the top of the repository.
fn script(tree: &Tree) -> Option<&str> {
    let paths = tree.files.iter().map(|file| file.path.as_str());
    paths
        .into_iter()
        .find(|path| path.ends_with(".py") && !path.contains('/'))
}

/// Why a data set has no file that is read.
fn why_empty(tree: &Tree, other: &[TreeFile]) -> String {
    if let Some(script) = script(tree) {
        return format!(
            "the data set is made by the Python program {script}, which is not run, and the hub \
             has no parquet branch of it; run it once in Python and give the file that it writes: \
             datasets.load_dataset(...)[\"train\"].to_json(\"train.jsonl\"), with a version of \
             datasets below 4"
        );
    }
    let found = match other.is_empty() {
        true => String::new(),
        false => format!(" (it has {})", by_ending(other)),
    };
    let taken = taken_endings();
    format!("the data set has no data files that are read{found}; taken are {taken}")
}
