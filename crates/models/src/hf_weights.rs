//! Weights of a Hugging Face directory: one safetensors file, or shards with an index; f32, f16 and
//! bf16. Every tensor must be there once with the right shape, and no unknown tensor beside it.

use crate::hf_files::read_json;
use crate::model_spec::params;
use crate::safetensors_file::SafetensorsFile;
use crate::weight_storage::StoragePlan;
use crate::{CausalLm, Config, Error, Result};
use candle_core::{Device, Tensor};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// Reads the weights of a directory whose config.json is `config`.
pub(crate) fn read_weights(
    dir: &Path,
    config: &Config,
    device: &Device,
    plan: StoragePlan,
) -> Result<CausalLm> {
    let files = weight_files(dir)?;
    let params = params(config).into_iter();
    let wanted: HashMap<String, _> = params.map(|p| (p.hf_name, (p.slot, p.shape))).collect();
    let mut found: HashMap<String, Tensor> = HashMap::with_capacity(wanted.len());
    for path in &files {
        let file = SafetensorsFile::open(path)?;
        for name in file.names() {
            match wanted.get(&name) {
                Some((slot, shape)) => {
                    check_shape(path, &name, file.shape(&name)?, shape)?;
                    let read = file.read(&name, &Device::Cpu)?;
                    found.insert(name, plan.convert(*slot, read, device)?);
                }
                None if is_redundant(&name, config) => {}
                None => {
                    return Err(Error::at(
                        path,
                        format!(
                            "unexpected tensor {name}; this is not the model that its config.json describes"
                        ),
                    ));
                }
            }
        }
    }
    let whole = match files.as_slice() {
        [one] => one,
        _ => dir,
    };
    CausalLm::build(config, device, |param| {
        let name = &param.hf_name;
        found
            .remove(name)
            .ok_or_else(|| Error::at(whole, format!("tensor {name} is missing")))
    })
}

pub(crate) fn check_shape(file: &Path, name: &str, got: &[usize], want: &[usize]) -> Result<()> {
    if got == want {
        return Ok(());
    }
    Err(Error::at(
        file,
        format!("tensor {name} is {got:?}, the config needs {want:?}"),
    ))
}

/// Whether the weights hold an output matrix with other numbers than the embeddings. Weights that
/// are not there, or damaged, are the loader's to report.
pub(crate) fn has_other_head(dir: &Path) -> Result<bool> {
    const HEAD: &str = "lm_head.weight";
    const EMBEDDINGS: &str = "model.embed_tokens.weight";
    let files = weight_files(dir).unwrap_or_default();
    let files: Vec<_> = files
        .iter()
        .filter_map(|file| SafetensorsFile::open(file).ok())
        .collect();
    let find = |name: &str| files.iter().find(|file| file.shape(name).is_ok());
    match (find(HEAD), find(EMBEDDINGS)) {
        (Some(head), Some(embeddings)) => Ok(!head.equal(HEAD, embeddings, EMBEDDINGS)?),
        _ => Ok(false),
    }
}

/// Tensors of older checkpoints that repeat what is known.
fn is_redundant(name: &str, config: &Config) -> bool {
    name.ends_with(".rotary_emb.inv_freq")
        || (name == "lm_head.weight" && config.tie_word_embeddings)
}

/// `model.safetensors`, or the shards its index names, in order.
pub(crate) fn weight_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let single = dir.join("model.safetensors");
    if single.is_file() {
        return Ok(vec![single]);
    }
    let index = dir.join("model.safetensors.index.json");
    let Some(value) = read_json(&index)? else {
        let pickled = dir.join("pytorch_model.bin").exists()
            || dir.join("pytorch_model.bin.index.json").exists();
        return Err(Error::at(
            dir,
            if pickled {
                "holds pytorch_model.bin, which is not read; convert it to safetensors with `python -c \
                 \"from transformers import AutoModelForCausalLM as M; \
                 M.from_pretrained('.').save_pretrained('.')\"` in that directory"
            } else {
                "no model.safetensors and no model.safetensors.index.json"
            },
        ));
    };
    shard_names(&index, &value)?
        .into_iter()
        .map(|name| {
            let file = dir.join(name);
            if file.is_file() {
                Ok(file)
            } else {
                Err(Error::at(
                    &file,
                    "shard is missing, though the index names it",
                ))
            }
        })
        .collect()
}

/// The file names of an index's weight map, each once.
pub(crate) fn shard_names(index: &Path, value: &Value) -> Result<BTreeSet<String>> {
    let map = value
        .get("weight_map")
        .and_then(Value::as_object)
        .filter(|m| !m.is_empty())
        .ok_or_else(|| Error::at(index, "has no weight_map"))?;
    map.iter()
        .map(|(tensor, file)| match file.as_str() {
            Some(name) if !name.contains(['/', '\\']) && name.ends_with(".safetensors") => {
                Ok(name.to_string())
            }
            _ => Err(Error::at(
                index,
                format!("{tensor} points to {file}, not to a safetensors file beside it"),
            )),
        })
        .collect()
}
