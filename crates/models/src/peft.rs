//! Adapters on disk, as PEFT writes and reads them: `adapter_config.json` (`peft_config.rs`) and
//! `adapter_model.safetensors`.

use crate::hf_files::{is_there, read_json};
use crate::hf_shards::look_for_shards;
use crate::lora::peft_key;
use crate::lora_config::Adapted;
use crate::peft_config::{in_peft_names, merge_it};
use crate::safetensors_file::{SafetensorsFile, write_tensors};
use crate::{CausalLm, Config, Error, Lora, LoraConfig, Result};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::path::Path;

pub(crate) const ADAPTER_CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
/// Metadata key in the weights' header: [`CausalLm::fingerprint`] of the base. PEFT ignores it.
const BASE: &str = "base_fingerprint";
const OTHER: &str = "the adapter belongs to another base";

/// Whether a directory holds an adapter of PEFT's format, and no whole model.
pub fn is_adapter(dir: &Path) -> Result<bool> {
    if !dir.is_dir() || !is_there(&dir.join(ADAPTER_CONFIG))? {
        return Ok(false);
    }
    // some trainers write the base's config.json beside an adapter
    Ok(!is_there(&dir.join("config.json"))? || look_for_shards(dir)?.is_err())
}

/// What an adapter says of the model that it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterBase {
    /// `base_model_name_or_path`
    pub name: Option<String>,
    /// `revision` of it on the hub, where it is not `main`
    pub revision: Option<String>,
    /// [`CausalLm::fingerprint`] of it; PEFT records none
    pub fingerprint: Option<String>,
}

impl AdapterBase {
    /// Of an adapter's directory. Its weights may be missing.
    pub fn read(dir: &Path) -> Result<Self> {
        let (_, value) = LoraConfig::read(dir)?;
        let file = dir.join(WEIGHTS);
        let weights = is_there(&file)?.then(|| SafetensorsFile::open(&file));
        let fingerprint = weights.transpose()?;
        let text = |key: &str| value[key].as_str().filter(|text| !text.is_empty());
        Ok(Self {
            name: text("base_model_name_or_path").map(str::to_string),
            revision: text("revision")
                .filter(|revision| *revision != "main")
                .map(str::to_string),
            fingerprint: fingerprint.and_then(|file| file.metadata(BASE).map(str::to_string)),
        })
    }
}

impl Lora {
    /// Reads a PEFT directory, frozen. Names and shapes must fit this model, and so must the
    /// fingerprint of the base where the file has one.
    pub fn load(dir: &Path, model: &CausalLm) -> Result<Self> {
        let (config, value) = LoraConfig::read(dir)?;
        let adapted = config.adapted_in(dir, &model.config)?;
        let file = dir.join(WEIGHTS);
        let weights = open_weights(dir)?;
        check_shapes(dir, &weights, &adapted, &model.config)?;
        let base = model.fingerprint()?;
        if let Some(other) = weights.metadata(BASE).filter(|other| *other != base) {
            let name = value["base_model_name_or_path"].as_str().unwrap_or("?");
            return Err(Error::at(
                &file,
                format!("{OTHER}: it was trained on {name} ({other}), these weights are {base}"),
            ));
        }
        let mut tensors = weights.read_all(model.device())?;
        Self::build(&config, model, |target| {
            let mut take = |matrix| {
                let key = peft_key(target.layer, target.path, matrix);
                let tensor = tensors.remove(&key);
                tensor.ok_or_else(|| Error::at(&file, format!("tensor {key} is missing")))
            };
            Ok((take("A")?, take("B")?))
        })
    }

    /// Writes `adapter_config.json` and `adapter_model.safetensors` (f32) into an existing
    /// directory. `base_name` is recorded as the model that the adapter belongs to.
    pub fn save(&self, dir: &Path, base_name: &str) -> Result<()> {
        write_tensors(
            &dir.join(WEIGHTS),
            &self.tensors(),
            &[(BASE, self.base_fingerprint())],
        )?;
        let c = &self.config;
        let config = json!({
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": base_name,
            "inference_mode": true,
            "r": c.r,
            "lora_alpha": c.alpha,
            "lora_dropout": c.dropout,
            "target_modules": c.targets.to_peft(self.modules()),
            "use_rslora": c.rslora,
            "use_dora": false,
            "bias": "none",
            "fan_in_fan_out": false,
            "init_lora_weights": true,
            "modules_to_save": null,
            "layers_to_transform": null,
            "layers_pattern": null,
            "rank_pattern": c.rank_pattern,
            "alpha_pattern": c.alpha_pattern,
        });
        let file = dir.join(ADAPTER_CONFIG);
        let text = format!("{config:#}\n");
        std::fs::write(&file, text).map_err(Error::io(&file))
    }
}

impl LoraConfig {
    /// The settings of an adapter on disk. Its weights are not read.
    pub fn of_adapter(dir: &Path) -> Result<Self> {
        Ok(Self::read(dir)?.0)
    }

    /// The same, which must fit a model of this shape; so must the names and shapes of its weights,
    /// if they are there.
    pub fn of_adapter_on(dir: &Path, model: &Config) -> Result<Self> {
        let config = Self::of_adapter(dir)?;
        let adapted = config.adapted_in(dir, model)?;
        if is_there(&dir.join(WEIGHTS))? {
            check_shapes(dir, &open_weights(dir)?, &adapted, model)?;
        }
        Ok(config)
    }

    /// The adapted matrices; an error names the file of the settings.
    fn adapted_in(&self, dir: &Path, model: &Config) -> Result<Vec<Adapted>> {
        let adapted = self.adapted(model);
        adapted.map_err(|e| Error::at(&dir.join(ADAPTER_CONFIG), in_peft_names(&e)))
    }

    fn read(dir: &Path) -> Result<(Self, Value)> {
        let file = dir.join(ADAPTER_CONFIG);
        let value = read_json(&file)?.ok_or_else(|| Error::at(&file, "no such file"))?;
        let config = Self::from_peft(&value, dir).map_err(|e| Error::at(&file, e))?;
        Ok((config, value))
    }
}

fn open_weights(dir: &Path) -> Result<SafetensorsFile> {
    let file = dir.join(WEIGHTS);
    if !is_there(&file)? && dir.join("adapter_model.bin").exists() {
        let what = format!(
            "missing, and adapter_model.bin is not read; {}",
            merge_it(dir)
        );
        return Err(Error::at(&file, what));
    }
    SafetensorsFile::open(&file)
}

/// Refuses weights that lack a tensor, have one more or one of another shape.
fn check_shapes(
    dir: &Path,
    weights: &SafetensorsFile,
    adapted: &[Adapted],
    model: &Config,
) -> Result<()> {
    let wrong = |what: String| Err(Error::at(&dir.join(WEIGHTS), what));
    let spec = model.layer();
    let names: HashSet<String> = weights.names().into_iter().collect();
    let mut known = HashSet::with_capacity(2 * adapted.len());
    for one in adapted {
        let (out, input) = spec.shape(one.module);
        for (matrix, shape) in [("A", [one.rank, input]), ("B", [out, one.rank])] {
            let key = peft_key(one.layer, spec.path(one.module), matrix);
            if !names.contains(&key) {
                return wrong(format!("tensor {key} is missing; {OTHER}"));
            }
            let found = weights.shape(&key)?;
            if found != shape {
                return wrong(format!(
                    "tensor {key} is {found:?}, this base needs {shape:?}; {OTHER}"
                ));
            }
            known.insert(key);
        }
    }
    match names.difference(&known).min() {
        None => Ok(()),
        Some(extra) if extra.contains(".lora_A.") || extra.contains(".lora_B.") => {
            wrong(format!("unexpected tensor {extra}; {OTHER}"))
        }
        Some(extra) => wrong(format!(
            "unexpected tensor {extra}, which is none of LoRA's matrices; {}",
            merge_it(dir)
        )),
    }
}
