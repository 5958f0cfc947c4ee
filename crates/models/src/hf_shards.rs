//! The safetensors files of a Hugging Face directory: one, or shards with an index that says which
//! file gives which tensor. A shard may hold other tensors, left over from an earlier save: they
//! are reported, not read.

use crate::hf_files::{is_there, read_json};
use crate::safetensors_file::SafetensorsFile;
use crate::{Error, Result};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// A file of weights.
pub(crate) struct Shard {
    pub path: PathBuf,
    /// The tensors that the index places in it; None: all of its tensors.
    names: Option<BTreeSet<String>>,
}

impl Shard {
    /// Whether a tensor is to be read from this file.
    pub fn gives(&self, name: &str) -> bool {
        self.names.as_ref().is_none_or(|names| names.contains(name))
    }

    /// Whether the open file has a tensor that is to be read from it.
    pub fn has(&self, file: &SafetensorsFile, name: &str) -> bool {
        self.gives(name) && file.shape(name).is_ok()
    }

    /// The error where the file lacks a tensor that the index places in it.
    pub fn lacks(&self, name: &str) -> Option<Error> {
        let is_placed = self.names.is_some() && self.gives(name);
        let what = format!("tensor {name} is missing, though {INDEX} places it in this file");
        is_placed.then(|| Error::at(&self.path, what))
    }
}

/// `model.safetensors`, or the shards that its index names, in order.
pub(crate) fn shards(dir: &Path) -> Result<Vec<Shard>> {
    look_for_shards(dir)?
}

/// The same for a caller that can do without the weights: the inner error says that they, or some
/// of them, are missing; the outer one, that a file is there and cannot be read.
pub(crate) fn look_for_shards(dir: &Path) -> Result<Result<Vec<Shard>>> {
    let single = dir.join(SINGLE);
    if is_there(&single)? {
        return Ok(Ok(vec![Shard {
            path: single,
            names: None,
        }]));
    }
    let index = dir.join(INDEX);
    let Some(value) = read_json(&index)? else {
        let pickled = dir.join("pytorch_model.bin").exists()
            || dir.join("pytorch_model.bin.index.json").exists();
        return Ok(Err(Error::at(
            dir,
            if pickled {
                "holds pytorch_model.bin, which is not read; convert it to safetensors with `python -c \
                 \"from transformers import AutoModelForCausalLM as M; \
                 M.from_pretrained('.').save_pretrained('.')\"` in that directory"
            } else {
                "no model.safetensors and no model.safetensors.index.json"
            },
        )));
    };
    let mut shards = Vec::new();
    for (name, tensors) in weight_map(&index, &value)? {
        let path = dir.join(name);
        if !is_there(&path)? {
            let what = "shard is missing, though the index names it";
            return Ok(Err(Error::at(&path, what)));
        }
        let names = Some(tensors);
        shards.push(Shard { path, names });
    }
    Ok(Ok(shards))
}

/// What a user should know of the files: tensors and an index that are not used. Files that are not
/// there, or damaged, are reported by the loader.
pub(crate) fn notes(dir: &Path) -> Vec<String> {
    if dir.join(SINGLE).is_file() {
        let unused = format!("{SINGLE} is used, and {INDEX} beside it is not, as in transformers");
        return dir
            .join(INDEX)
            .exists()
            .then_some(unused)
            .into_iter()
            .collect();
    }
    let mut notes = Vec::new();
    for shard in shards(dir).unwrap_or_default() {
        let Ok(file) = SafetensorsFile::open(&shard.path) else {
            continue;
        };
        let mut names = file.names();
        names.retain(|name| !shard.gives(name));
        if let Some(first) = names.iter().min() {
            let name = shard.path.file_name().unwrap_or_default();
            notes.push(format!(
                "{} holds {} that {INDEX} does not place in it (first: {first}); not used",
                name.display(),
                match names.len() {
                    1 => "a tensor".to_string(),
                    n => format!("{n} tensors"),
                }
            ));
        }
    }
    notes
}

/// The file names of an index's weight map, each once.
pub(crate) fn shard_names(index: &Path, value: &Value) -> Result<Vec<String>> {
    Ok(weight_map(index, value)?.into_keys().collect())
}

/// The tensors that an index places in each file.
fn weight_map(index: &Path, value: &Value) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let map = value
        .get("weight_map")
        .and_then(Value::as_object)
        .filter(|m| !m.is_empty())
        .ok_or_else(|| Error::at(index, "has no weight_map"))?;
    let mut files: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (tensor, file) in map {
        let name = file
            .as_str()
            .filter(|name| !name.contains(['/', '\\']) && name.ends_with(".safetensors"));
        let name = name.ok_or_else(|| {
            Error::at(
                index,
                format!("{tensor} points to {file}, not to a safetensors file beside it"),
            )
        })?;
        files
            .entry(name.to_string())
            .or_default()
            .insert(tensor.clone());
    }
    Ok(files)
}
