//! `adapter_config.json`: PEFT's settings of an adapter. What is not implemented (trained biases,
//! DoRA, saved modules) is refused by its name, never ignored.

use crate::layer_spec::Module;
use crate::{LoraConfig, LoraTargets};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

impl LoraConfig {
    /// Of the parsed file of the adapter in `dir`.
    pub(crate) fn from_peft(value: &Value, dir: &Path) -> std::result::Result<Self, String> {
        refuse_unsupported(value, dir)?;
        read_config(value)
    }
}

/// What to do with an adapter that cannot be used as it is.
pub(crate) fn merge_it(dir: &Path) -> String {
    format!(
        "merge it into its base with PEFT and give the merged directory: python -c \"from peft import \
         AutoPeftModelForCausalLM as P; from transformers import AutoTokenizer as T; m = \
         P.from_pretrained('{}'); m.merge_and_unload().save_pretrained('merged'); \
         T.from_pretrained(m.peft_config['default'].base_model_name_or_path)\
         .save_pretrained('merged')\"",
        dir.display()
    )
}

fn read_config(value: &Value) -> std::result::Result<LoraConfig, String> {
    let get = |key: &str| value.get(key).filter(|v| !v.is_null());
    let r = get("r")
        .and_then(Value::as_u64)
        .ok_or("r is missing or not a whole number")?;
    let number = |key: &str| get(key).and_then(Value::as_f64);
    let dropout = match get("lora_dropout") {
        None => 0.0,
        Some(v) => v
            .as_f64()
            .ok_or_else(|| format!("lora_dropout = {v} is not a number"))?,
    };
    let rslora = match get("use_rslora") {
        None => false,
        Some(v) => v
            .as_bool()
            .ok_or_else(|| format!("use_rslora = {v} is not true or false"))?,
    };
    let targets = read_targets(get("target_modules"))?;
    Ok(LoraConfig {
        r: r as usize,
        alpha: number("lora_alpha").ok_or("lora_alpha is missing or not a number")?,
        dropout,
        targets,
        rslora,
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

/// Of these, keys of adapters that PEFT does not merge.
const UNMERGEABLE: [&str; 2] = ["alora_invocation_tokens", "layer_replication"];

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

fn refuse_unsupported(value: &Value, dir: &Path) -> std::result::Result<(), String> {
    let get = |key: &str| value.get(key).filter(|v| !v.is_null());
    match get("peft_type").and_then(Value::as_str) {
        Some("LORA") => {}
        other => {
            return Err(format!(
                "peft_type is {}, only LORA is supported; {}",
                other.unwrap_or("missing"),
                merge_it(dir)
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
            true if UNMERGEABLE.contains(&key.as_str()) => format!(
                "{key} = {v} is not supported, and PEFT cannot merge it; train a plain LoRA adapter"
            ),
            true => format!("{key} = {v} is not supported; {}", merge_it(dir)),
            false => format!(
                "{key} = {v} is not known here, and it may change what the adapter computes; \
                 remove it if it does not, else {}",
                merge_it(dir)
            ),
        });
    }
    // these initialisations subtract the adapter from the base's weights, which we do not do
    let changes_base = ["pissa", "olora", "loftq", "corda", "lora_ga"];
    match get("init_lora_weights").and_then(Value::as_str) {
        Some(init) if changes_base.iter().any(|name| init.starts_with(name)) => {
            return Err(format!(
                "init_lora_weights = \"{init}\" changes the base; {}",
                merge_it(dir)
            ));
        }
        _ => {}
    }
    let outside = ["lm_head", "embed_tokens"];
    let targets = get("target_modules").and_then(Value::as_array);
    let mut targets = targets.into_iter().flatten().filter_map(Value::as_str);
    match targets.find(|name| outside.contains(&name.rsplit('.').next().unwrap_or(name))) {
        None => Ok(()),
        Some(name) => Err(format!(
            "target_modules has \"{name}\", and an adapter on embeddings or head is not supported; where \
             the base's tie_word_embeddings is true, train one without it, else {}",
            merge_it(dir)
        )),
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
pub(crate) fn in_peft_names(message: &str) -> String {
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
