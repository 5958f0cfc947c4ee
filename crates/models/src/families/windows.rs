//! Sliding windows in config.json: which layers have one. transformers has three spellings.

use crate::config_json::Fields;
use crate::shape::Config;
use serde_json::Value;

/// `sliding_window`, where null means none.
pub(super) fn window(fields: &Fields, default: Option<usize>) -> Result<Option<usize>, String> {
    match fields.0.get("sliding_window") {
        None => Ok(default),
        Some(_) => fields.opt_size("sliding_window"),
    }
}

/// Gives the window to each layer for which `has` holds. One that is no shorter than the context
/// hides nothing and is left out.
pub(super) fn set(config: &mut Config, window: Option<usize>, has: impl Fn(usize) -> bool) {
    let window = window.filter(|window| *window < config.max_position_embeddings);
    for (index, layer) in config.layers.iter_mut().enumerate() {
        layer.window = window.filter(|_| has(index));
    }
}

/// The window of a GGUF file, for every layer.
pub(super) fn all(config: &mut Config, window: Option<usize>) {
    set(config, window, |_| true);
}

/// `layer_types`: whether each layer has the window.
pub(super) fn layer_types(fields: &Fields, config: &Config) -> Result<Option<Vec<bool>>, String> {
    let Some(value) = fields.get("layer_types") else {
        return Ok(None);
    };
    let kind = |kind: &Value| match kind.as_str() {
        Some("full_attention") => Ok(false),
        Some("sliding_attention") => Ok(true),
        _ => Err(format!(
            "layer_types has {kind}; full_attention and sliding_attention are supported"
        )),
    };
    let list = value.as_array().ok_or("layer_types is not a list")?;
    let kinds = list.iter().map(kind).collect::<Result<Vec<_>, _>>()?;
    match kinds.len() == config.num_hidden_layers {
        true => Ok(Some(kinds)),
        false => Err(format!(
            "layer_types names {} layers, num_hidden_layers is {}",
            kinds.len(),
            config.num_hidden_layers
        )),
    }
}

/// [`layer_types`]; refuses layers with a window where there is none, which transformers computes
/// in one way or another, depending on the family.
pub(super) fn used_types(
    fields: &Fields,
    config: &Config,
    window: Option<usize>,
) -> Result<Option<Vec<bool>>, String> {
    let types = layer_types(fields, config)?;
    match &types {
        Some(types) if window.is_none() && types.contains(&true) => Err(
            "layer_types has sliding_attention, but there is no window: use_sliding_window is off or sliding_window is null"
                .into(),
        ),
        _ => Ok(types),
    }
}

/// The keys of Qwen: `use_sliding_window`, and either `layer_types` or `max_window_layers`, the
/// number of layers that come before those with a window.
pub(super) fn read_qwen(fields: &Fields, config: &mut Config) -> Result<(), String> {
    let used = match fields.flag("use_sliding_window")? {
        true => window(fields, Some(4096))?,
        false => None,
    };
    let types = used_types(fields, config, used)?;
    let first = match fields.get("max_window_layers") {
        None => 28,
        Some(first) => first
            .as_u64()
            .ok_or_else(|| format!("max_window_layers is {first}, not a whole number"))?,
    };
    set(config, used, |layer| match &types {
        Some(types) => types[layer],
        None => layer as u64 >= first,
    });
    Ok(())
}

/// The keys that [`read_qwen`] reads. Without a window, the one that says so.
pub(super) fn write_qwen(config: &Config) -> Vec<(&'static str, Value)> {
    let Some(window) = config.sliding_window() else {
        return vec![("use_sliding_window", false.into())];
    };
    let first = config.layers.iter().position(|l| l.window.is_some());
    vec![
        ("use_sliding_window", true.into()),
        ("sliding_window", window.into()),
        ("max_window_layers", first.unwrap_or_default().into()),
        ("layer_types", written_types(config)),
    ]
}

/// `layer_types`.
pub(super) fn written_types(config: &Config) -> Value {
    let kinds = config.layers.iter().map(|layer| match layer.window {
        Some(_) => "sliding_attention",
        None => "full_attention",
    });
    kinds.collect::<Vec<_>>().into()
}
