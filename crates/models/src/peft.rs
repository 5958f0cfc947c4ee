//! Adapters on disk, as PEFT writes and reads them: `adapter_config.json` and
//! `adapter_model.safetensors`. What is not implemented (trained biases, DoRA, saved modules) is
//! refused, never ignored.

use crate::hf_files::read_json;
use crate::layer_spec::Module;
use crate::lora::peft_key;
use crate::safetensors_file::{SafetensorsFile, write_tensors};
use crate::{CausalLm, Error, Lora, LoraConfig, LoraTargets, Result};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

pub(crate) const ADAPTER_CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
/// Metadata key in the weights' header: [`CausalLm::fingerprint`] of the base. PEFT ignores it.
const BASE: &str = "base_fingerprint";

impl Lora {
    /// Reads a PEFT directory, frozen. Names and shapes must fit this model, and so must the
    /// fingerprint of the base where the file has one.
    pub fn load(dir: &Path, model: &CausalLm) -> Result<Self> {
        let (config, value) = LoraConfig::read(dir)?;
        config
            .adapted(&model.config)
            .map_err(|e| Error::at(&dir.join(ADAPTER_CONFIG), in_peft_names(&e)))?;

        let file = dir.join(WEIGHTS);
        let weights = SafetensorsFile::open(&file)?;
        let base = model.fingerprint()?;
        if let Some(other) = weights.metadata(BASE).filter(|other| *other != base) {
            let name = value["base_model_name_or_path"].as_str().unwrap_or("?");
            return Err(Error::at(
                &file,
                format!(
                    "the adapter belongs to another base: it was trained on {name} ({other}), these weights are {base}"
                ),
            ));
        }
        let mut tensors = weights.read_all(model.device())?;
        let mut take = |key: String, shape: [usize; 2]| {
            let tensor = tensors.remove(&key).ok_or_else(|| {
                Error::at(
                    &file,
                    format!("tensor {key} is missing; the adapter belongs to another base"),
                )
            })?;
            if tensor.dims() != shape {
                return Err(Error::at(
                    &file,
                    format!(
                        "tensor {key} is {:?}, this base needs {shape:?}; the adapter belongs to another base",
                        tensor.dims()
                    ),
                ));
            }
            Ok(tensor)
        };
        let lora = Self::build(&config, model, |target| {
            let (out, input) = target.shape;
            let key = |matrix| peft_key(target.layer, target.path, matrix);
            let a = take(key("A"), [target.rank, input])?;
            let b = take(key("B"), [out, target.rank])?;
            Ok((a, b))
        })?;
        match tensors.keys().min() {
            Some(extra) => Err(Error::at(
                &file,
                format!("unexpected tensor {extra}; the adapter belongs to another base"),
            )),
            None => Ok(lora),
        }
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

    fn read(dir: &Path) -> Result<(Self, Value)> {
        let file = dir.join(ADAPTER_CONFIG);
        let value = read_json(&file)?.ok_or_else(|| Error::at(&file, "no such file"))?;
        let config = read_config(&value).map_err(|e| Error::at(&file, e))?;
        Ok((config, value))
    }
}

fn read_config(value: &Value) -> std::result::Result<LoraConfig, String> {
    let get = |key: &str| value.get(key).filter(|v| !v.is_null());
    refuse_unsupported(value)?;
    let r = get("r")
        .and_then(Value::as_u64)
        .ok_or("r is missing or not a whole number")?;
    let number = |key: &str| get(key).and_then(Value::as_f64);
    let targets = read_targets(get("target_modules"))?;
    Ok(LoraConfig {
        r: r as usize,
        alpha: number("lora_alpha").ok_or("lora_alpha is missing or not a number")?,
        dropout: number("lora_dropout").unwrap_or(0.0),
        targets,
        rslora: get("use_rslora").and_then(Value::as_bool).unwrap_or(false),
        rank_pattern: read_patterns(value, "rank_pattern", |v| v.as_u64().map(|r| r as usize))?,
        alpha_pattern: read_patterns(value, "alpha_pattern", Value::as_f64)?,
    })
}

/// Keys that are read here, and PEFT's keys that do not change what an adapter computes: they
/// describe it, or the start of its training. Any other key must be absent or empty.
const HARMLESS: [&str; 21] = [
    "r",
    "lora_alpha",
    "lora_dropout",
    "target_modules",
    "use_rslora",
    "rank_pattern",
    "alpha_pattern",
    "peft_type",
    "task_type",
    "base_model_name_or_path",
    "revision",
    "inference_mode",
    "peft_version",
    "auto_mapping",
    "init_lora_weights",
    "eva_config",
    "megatron_core",
    // used only with use_qalora, layers_to_transform, modules_to_save and runtime options
    "qalora_group_size",
    "layers_pattern",
    "ensure_weight_tying",
    "runtime_config",
];

/// Keys that are known to change what an adapter computes.
const UNSUPPORTED: [&str; 21] = [
    "bias",
    "use_dora",
    "use_qalora",
    "use_bdlora",
    "fan_in_fan_out",
    "modules_to_save",
    "layers_to_transform",
    "layer_replication",
    "trainable_token_indices",
    "target_parameters",
    "exclude_modules",
    "alora_invocation_tokens",
    "lora_bias",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
    "velora_config",
    // these start from another base
    "loftq_config",
    "corda_config",
    "lora_ga_config",
    "megatron_config",
];

fn refuse_unsupported(value: &Value) -> std::result::Result<(), String> {
    let get = |key: &str| value.get(key).filter(|v| !v.is_null());
    match get("peft_type").and_then(Value::as_str) {
        Some("LORA") => {}
        other => {
            return Err(format!(
                "peft_type is {}, only LORA is supported",
                other.unwrap_or("missing")
            ));
        }
    }
    let empty = |v: &Value| match v {
        Value::Bool(on) => !on,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty() || text == "none",
        _ => false,
    };
    for (key, v) in value.as_object().into_iter().flatten() {
        if v.is_null() || empty(v) || HARMLESS.contains(&key.as_str()) {
            continue;
        }
        return Err(match UNSUPPORTED.contains(&key.as_str()) {
            true => format!("{key} = {v} is not supported"),
            false => format!(
                "{key} = {v} is not known here, and it may change what the adapter computes; \
                 remove it if it does not"
            ),
        });
    }
    // these initialisations subtract the adapter from the base's weights, which we do not do
    let changes_base = ["pissa", "olora", "loftq", "corda", "lora_ga"];
    match get("init_lora_weights").and_then(Value::as_str) {
        Some(init) if changes_base.iter().any(|name| init.starts_with(name)) => Err(format!(
            "init_lora_weights = \"{init}\" changes the base; convert the adapter to plain LoRA with PEFT first"
        )),
        _ => Ok(()),
    }
}

/// `target_modules`: names, `"all-linear"` or a regular expression.
fn read_targets(value: Option<&Value>) -> std::result::Result<LoraTargets, String> {
    let list = match value {
        Some(Value::String(text)) => return Ok(text.as_str().into()),
        Some(Value::Array(list)) => list,
        Some(other) => {
            return Err(format!(
                "target_modules = {other} is not a list of names or a regular expression"
            ));
        }
        None => return Err("target_modules is missing".into()),
    };
    let names = list.iter().map(|v| v.as_str().map(str::to_string));
    let names: Option<Vec<_>> = names.collect();
    let mut names = names.ok_or("target_modules holds something that is not text")?;
    // PEFT writes a set in any order
    let order = |name: &str| Module::by_name(name).map(|module| module.parts()[0] as usize);
    names.sort_by(|a, b| (order(a), a).cmp(&(order(b), b)));
    Ok(LoraTargets::Names(names))
}

/// `rank_pattern` or `alpha_pattern`: numbers by pattern.
fn read_patterns<T>(
    value: &Value,
    key: &str,
    number: impl Fn(&Value) -> Option<T>,
) -> std::result::Result<BTreeMap<String, T>, String> {
    let map = match value.get(key) {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(map)) => map,
        Some(other) => return Err(format!("{key} = {other} is not a map")),
    };
    let entry = |(pattern, v): (&String, &Value)| {
        let what = || format!("{key}: \"{pattern}\" = {v} is not a number that it takes");
        Ok((pattern.clone(), number(v).ok_or_else(what)?))
    };
    map.iter().map(entry).collect()
}

/// A message about settings of ours in the words of the file.
fn in_peft_names(message: &str) -> String {
    let names = [
        ("lora.targets", "target_modules"),
        ("lora.alpha =", "lora_alpha ="),
        ("lora.dropout", "lora_dropout"),
        ("lora.", ""),
    ];
    names
        .iter()
        .fold(message.to_string(), |text, (ours, theirs)| {
            text.replace(ours, theirs)
        })
}
