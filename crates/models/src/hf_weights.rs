//! Weights of a Hugging Face directory: one safetensors file, or shards with an index; f32, f16 and
//! bf16. Every tensor must be there with the right shape, in its own file, and no unknown tensor
//! beside it.

use crate::hf_shards::shards;
use crate::model_spec::params;
use crate::safetensors_file::SafetensorsFile;
use crate::weight_storage::StoragePlan;
use crate::{CausalLm, Config, Error, Result};
use candle_core::{Device, Tensor};
use std::collections::HashMap;
use std::path::Path;

const HEAD: &str = "lm_head.weight";
const EMBEDDINGS: &str = "model.embed_tokens.weight";

/// Reads the weights of a directory whose config.json is `config`.
pub(crate) fn read_weights(
    dir: &Path,
    config: &Config,
    device: &Device,
    plan: StoragePlan,
) -> Result<CausalLm> {
    let shards = shards(dir)?;
    let params = params(config).into_iter();
    let wanted: HashMap<String, _> = params.map(|p| (p.hf_name, (p.slot, p.shape))).collect();
    let mut found: HashMap<String, Tensor> = HashMap::with_capacity(wanted.len());
    for shard in &shards {
        let path = &shard.path;
        let file = SafetensorsFile::open(path)?;
        for name in file.names().into_iter().filter(|name| shard.gives(name)) {
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
    let whole = match shards.as_slice() {
        [one] => &one.path,
        _ => dir,
    };
    CausalLm::build(config, device, |param| {
        let name = &param.hf_name;
        found.remove(name).ok_or_else(|| {
            let placed = shards.iter().find_map(|shard| shard.lacks(name));
            placed.unwrap_or_else(|| Error::at(whole, missing(name)))
        })
    })
}

fn missing(name: &str) -> String {
    let remedy = match name {
        HEAD => {
            "; if the embeddings are the head, set \"tie_word_embeddings\": true in config.json"
        }
        _ => "",
    };
    format!("tensor {name} is missing{remedy}")
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
/// are not there, or damaged, are reported by the loader.
pub(crate) fn has_other_head(dir: &Path) -> Result<bool> {
    let shards = shards(dir).unwrap_or_default();
    let files: Vec<_> = shards
        .iter()
        .filter_map(|shard| Some((shard, SafetensorsFile::open(&shard.path).ok()?)))
        .collect();
    let find = |name: &str| files.iter().find(|(shard, file)| shard.has(file, name));
    match (find(HEAD), find(EMBEDDINGS)) {
        (Some((_, head)), Some((_, embeddings))) => Ok(!head.equal(HEAD, embeddings, EMBEDDINGS)?),
        _ => Ok(false),
    }
}

/// Tensors of older checkpoints that repeat what is known: buffers of the rotation, a tied head.
fn is_redundant(name: &str, config: &Config) -> bool {
    let buffers = ["inv_freq", "cos_cached", "sin_cached"];
    let buffer = name.rsplit_once(".rotary_emb.").map(|(_, buffer)| buffer);
    buffer.is_some_and(|buffer| buffers.contains(&buffer))
        || (name == HEAD && config.tie_word_embeddings)
}
