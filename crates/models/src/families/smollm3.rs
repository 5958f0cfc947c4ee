//! SmolLM3: LLaMA's layers, of which every fourth does not rotate queries and keys.
//! Source: the model's card; names and numerics are those of transformers' `SmolLM3ForCausalLM`.

use super::{llama, windows};
use crate::config_json::Fields;
use crate::shape::{Config, Defaults, Family, HeadRows};
use serde_json::Value;

/// Of each this many layers the last does not rotate, where the file does not say. llama.cpp has
/// this number, too.
const INTERVAL: usize = 4;

pub(super) static SMOLLM3: Family = Family {
    model_type: "smollm3",
    architecture: "SmolLM3ForCausalLM",
    gguf_architecture: "smollm3",
    defaults: Defaults {
        context: 32_768,
        rope_theta: 2_000_000.0,
        as_many_kv_heads: false,
        tied: true,
        ..Defaults::LLAMA
    },
    partial_rotation: false,
    read_json,
    json_keys,
    layer: |widths, _| llama::layer(widths),
    windowed: true,
    gguf_layers: |config, _| set_rotated(config, INTERVAL),
    gguf_head_rows: HeadRows::Pairs,
    // files name llama's
    gguf_pre_tokenizers: &[],
};

/// Which layers rotate, where neither config.json nor a GGUF file says.
fn set_rotated(config: &mut Config, interval: usize) {
    for (index, layer) in config.layers.iter_mut().enumerate() {
        layer.rotated = !(index + 1).is_multiple_of(interval);
    }
}

fn read_json(fields: &Fields, config: &mut Config) -> Result<(), String> {
    llama::refuse_biases(fields, "SmolLM3")?;
    let interval = fields.opt_size("no_rope_layer_interval")?;
    set_rotated(config, interval.unwrap_or(INTERVAL));
    // despite its name, a 1 in the list is a layer that rotates
    if let Some(list) = fields.get("no_rope_layers") {
        let list = list.as_array().ok_or("no_rope_layers is not a list")?;
        if list.len() < config.num_hidden_layers {
            return Err(format!(
                "no_rope_layers names {} layers, num_hidden_layers is {}",
                list.len(),
                config.num_hidden_layers
            ));
        }
        for (layer, rotated) in config.layers.iter_mut().zip(list) {
            layer.rotated = match rotated.as_u64() {
                Some(0) => false,
                Some(1) => true,
                _ => return Err(format!("no_rope_layers has {rotated}, which is not 0 or 1")),
            };
        }
    }
    read_windows(fields, config)
}

/// Without `layer_types`, the layers that do not rotate have the window.
fn read_windows(fields: &Fields, config: &mut Config) -> Result<(), String> {
    let window = match fields.flag("use_sliding_window")? {
        true => windows::window(fields, None)?,
        false => None,
    };
    let types = windows::used_types(fields, config, window)?;
    let rotated: Vec<bool> = config.layers.iter().map(|layer| layer.rotated).collect();
    windows::set(config, window, |layer| match &types {
        Some(types) => types[layer],
        None => !rotated[layer],
    });
    Ok(())
}

fn json_keys(config: &Config) -> Vec<(&'static str, Value)> {
    let rotated = config.layers.iter().map(|layer| u64::from(layer.rotated));
    let window = config.sliding_window();
    vec![
        ("attention_bias", false.into()),
        ("mlp_bias", false.into()),
        ("no_rope_layers", rotated.collect::<Vec<_>>().into()),
        ("layer_types", windows::written_types(config)),
        ("use_sliding_window", window.is_some().into()),
        ("sliding_window", window.into()),
        // transformers' class has the id of one model
        ("pad_token_id", Value::Null),
    ]
}
