//! The branch `refs/convert/parquet`, into which the hub converts data sets:
//! `SUBSET/SPLIT/0000.parquet`. Of a large data set it converts the first part only, into
//! `SUBSET/partial-SPLIT`.

use super::choice::{Choice, default_subset, of_split};
use super::spec::DatasetSpec;
use super::split_names::Splits;
use crate::Result;
use crate::tree::Tree;
use std::collections::BTreeMap;

/// The branch.
pub(super) const CONVERTED: &str = "refs/convert/parquet";
const PARTIAL: &str = "partial-";

/// The splits of each subset, with the names of their folders.
pub(super) fn subsets(tree: &Tree) -> BTreeMap<String, Splits> {
    let mut subsets: BTreeMap<String, Splits> = BTreeMap::new();
    for file in &tree.files {
        if let [subset, split, name] = file.path.split('/').collect::<Vec<_>>()[..]
            && name.ends_with(".parquet")
        {
            let splits = subsets.entry(subset.to_string()).or_default();
            splits
                .entry(split.to_string())
                .or_default()
                .push(file.clone());
        }
    }
    subsets
}

/// The files that a name stands for; None where no subset has the name that it gives.
pub(super) fn choose(spec: &DatasetSpec, tree: &Tree) -> Result<Option<Choice>> {
    let mut subsets = subsets(tree);
    let names: Vec<&str> = subsets.keys().map(String::as_str).collect();
    let subset = match &spec.inside {
        Some(inside) => inside.clone(),
        None => default_subset(spec, &names, None)?.to_string(),
    };
    let Some(folders) = subsets.remove(&subset) else {
        return Ok(None);
    };
    let mut splits = Splits::new();
    let mut partial = Vec::new();
    for (folder, files) in &folders {
        match folder.strip_prefix(PARTIAL) {
            Some(split) if folders.contains_key(split) => {}
            Some(split) => {
                partial.push(split);
                splits.insert(split.to_string(), files.clone());
            }
            None => {
                splits.insert(folder.clone(), files.clone());
            }
        }
    }
    let mut choice = of_split(spec, &subset, splits)?;
    let is_taken = |split: &&str| {
        choice.files[0]
            .path
            .contains(&format!("/{PARTIAL}{split}/"))
    };
    if let Some(split) = partial.into_iter().find(|split| is_taken(split)) {
        choice.notes.push(format!(
            "split {split} is partial: the hub converted only its first part to parquet; \
             hub:{}@main:{split} reads the data set's own files",
            spec.id
        ));
    }
    Ok(Some(choice))
}
