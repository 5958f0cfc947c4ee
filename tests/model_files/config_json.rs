//! config.json: what is refused, and RoPE settings of transformers 4 and 5.

use super::{copy, edit_json, load, says};
use models::{Config, RopeScaling};
use serde_json::{Value, json};
use std::fs;
use testkit::golden;

#[test]
fn bad_configs_are_refused() {
    let rope = |kind: &str| json!({"rope_type": kind, "rope_theta": 1e4});
    let cases: &[(&str, Value, &str)] = &[
        ("hidden_size", Value::Null, "hidden_size is missing"),
        ("hidden_size", json!("32"), "hidden_size is \"32\""),
        ("num_hidden_layers", json!(-1), "num_hidden_layers is -1"),
        ("num_hidden_layers", json!(1u64 << 40), "num_hidden_layers"),
        ("num_hidden_layers", json!(1u64 << 30), "is corrupt"),
        ("num_attention_heads", json!(0), "num_attention_heads is 0"),
        (
            "num_key_value_heads",
            json!(3),
            "not a multiple of num_key_value_heads 3",
        ),
        ("head_dim", json!(7), "head_dim 7 is odd"),
        ("rms_norm_eps", json!(0), "rms_norm_eps"),
        ("model_type", json!("falcon"), "\"falcon\" is not supported"),
        (
            "architectures",
            json!(["LlamaForSequenceClassification"]),
            "LlamaForSequenceClassification",
        ),
        ("attention_bias", json!(true), "attention_bias = true"),
        ("mlp_bias", json!(true), "mlp_bias = true"),
        ("hidden_act", json!("gelu"), "hidden_act \"gelu\""),
        ("quantization_config", json!({"bits": 4}), "quantised"),
        ("rope_parameters", rope("xpos"), "\"xpos\" is not supported"),
        ("rope_parameters", rope("yarn"), "factor is missing"),
        ("rope_parameters", rope("dynamic"), "factor is missing"),
        ("rope_parameters", rope("longrope"), "short_factor"),
        (
            "rope_parameters",
            json!({"rope_type": "longrope", "short_factor": [1.0], "long_factor": [1.0]}),
            "short_factor has 1 numbers, but 4 pairs rotate",
        ),
        (
            "rope_parameters",
            json!({"rope_type": "yarn", "factor": 2.0, "beta_fast": 1.0, "beta_slow": 2.0}),
            "beta_fast 1 is below beta_slow 2",
        ),
        (
            "rope_parameters",
            json!({"full_attention": {"rope_type": "default"}}),
            "the key full_attention",
        ),
        ("rope_parameters", json!({"factor": 2.0}), "no rope_type"),
        (
            "partial_rotary_factor",
            json!(0.5),
            "partial_rotary_factor 0.5 is not supported for llama",
        ),
        (
            "rope_parameters",
            json!({"rope_type": "llama3", "factor": 8.0}),
            "low_freq_factor",
        ),
        (
            "rope_parameters",
            json!({"rope_type": "linear", "factor": 0.0}),
            "RoPE scaling factor 0 is not positive",
        ),
        (
            "rope_parameters",
            json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192}),
            "do not form a ramp",
        ),
        ("rope_parameters", json!(3), "rope_parameters is 3"),
        ("eos_token_id", json!("</s>"), "eos_token_id holds"),
        ("tie_word_embeddings", json!("yes"), "tie_word_embeddings"),
    ];
    for (key, value, part) in cases {
        let dir = copy("tied");
        edit_json(&dir.path().join("config.json"), |v| v[*key] = value.clone());
        says(load(dir.path()), &["config.json", part]);
    }
    let dir = copy("tied");
    fs::write(dir.path().join("config.json"), "[1").unwrap();
    says(load(dir.path()), &["config.json", "not JSON"]);
}

#[test]
fn old_and_new_rope_settings_are_read() {
    let base = fs::read(golden("tiny-llama/tied/config.json")).unwrap();
    let read = |edit: &dyn Fn(&mut Value)| {
        let mut value: Value = serde_json::from_slice(&base).unwrap();
        value.as_object_mut().unwrap().remove("rope_parameters");
        edit(&mut value);
        let config = Config::from_json(&value).unwrap();
        // what we write, we read
        assert_eq!(Config::from_json(&config.to_json()).unwrap(), config);
        (config.rope_theta, config.rope_scaling)
    };
    let llama3 = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 32});
    let wanted = RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 32,
    };
    assert_eq!(read(&|_| ()), (10_000.0, RopeScaling::None));
    assert_eq!(
        read(&|v| v["rope_theta"] = json!(5e5)),
        (5e5, RopeScaling::None)
    );
    assert_eq!(
        read(&|v| v["rope_parameters"] = json!({"rope_theta": 2e4, "rope_type": "default"})),
        (2e4, RopeScaling::None)
    );
    let old = |v: &mut Value| {
        v["rope_theta"] = json!(5e5);
        v["rope_scaling"] = llama3.clone();
    };
    assert_eq!(read(&old), (5e5, wanted.clone()));
    let new = |v: &mut Value| {
        v["rope_parameters"] = llama3.clone();
        v["rope_parameters"]["rope_theta"] = json!(5e5);
    };
    assert_eq!(read(&new), (5e5, wanted));
    let linear = |v: &mut Value| v["rope_scaling"] = json!({"type": "linear", "factor": 2.0});
    assert_eq!(read(&linear), (1e4, RopeScaling::Linear { factor: 2.0 }));
}

/// The config.json of a case with other keys.
fn read(family: &str, edit: Value) -> Result<Config, String> {
    let text = fs::read_to_string(golden("families").join(family).join("config.json"));
    let mut value: Value = serde_json::from_str(&text.unwrap()).unwrap();
    for (key, new) in edit.as_object().unwrap() {
        value[key] = new.clone();
    }
    Config::from_json(&value)
}

/// What a family has that another lacks is refused by its key, not read as the other's.
#[test]
fn keys_of_each_family_are_checked() {
    for (family, edit, part) in [
        (
            "mistral",
            json!({"num_key_value_heads": null}),
            "num_key_value_heads is missing",
        ),
        (
            "qwen3",
            json!({"num_key_value_heads": null}),
            "num_key_value_heads is missing",
        ),
        (
            "mistral",
            json!({"attention_bias": true}),
            "Mistral has no biases",
        ),
        (
            "smollm3",
            json!({"no_rope_layers": [1, 0]}),
            "no_rope_layers names 2 layers",
        ),
        (
            "smollm3",
            json!({"no_rope_layers": [1, 0, 2, 1, 1]}),
            "no_rope_layers has 2",
        ),
        (
            "smollm3",
            json!({"mlp_bias": true}),
            "SmolLM3 has no biases",
        ),
        (
            "phi3",
            json!({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.3}}),
            "partial_rotary_factor 0.3 rotates 1 of 4",
        ),
    ] {
        let error = read(family, edit).unwrap_err();
        assert!(error.contains(part), "{family}: {error}");
    }
}

#[test]
fn windows_that_contradict_are_refused() {
    for (family, edit, part) in [
        (
            "mistral",
            json!({"sliding_window": "wide"}),
            "sliding_window is \"wide\"",
        ),
        (
            "mistral",
            json!({"sliding_window": 0}),
            "sliding_window is 0",
        ),
        (
            "mistral",
            json!({"layer_types": ["full_attention", "full_attention"]}),
            "full_attention",
        ),
        (
            "qwen2-window",
            json!({"layer_types": ["chunked_attention"]}),
            "chunked_attention",
        ),
        (
            "qwen2-window",
            json!({"layer_types": ["full_attention"]}),
            "layer_types names 1 layers",
        ),
        (
            "qwen2-window",
            json!({"use_sliding_window": false}),
            "there is no window: use_sliding_window is off",
        ),
        (
            "qwen2-window",
            json!({"max_window_layers": -1}),
            "max_window_layers is -1",
        ),
        (
            "qwen2-window",
            json!({"max_window_layers": 2.5}),
            "max_window_layers is 2.5",
        ),
        (
            "llama-yarn",
            json!({"layer_types": vec!["sliding_attention"; 2]}),
            "there is no window",
        ),
        (
            "phi3",
            json!({"layer_types": ["foo"]}),
            "layer_types has \"foo\"",
        ),
        (
            "smollm3",
            json!({"layer_types": vec!["sliding_attention"; 5]}),
            "there is no window: use_sliding_window is off",
        ),
    ] {
        let error = read(family, edit).unwrap_err();
        assert!(error.contains(part), "{family}: {error}");
    }
}

#[test]
fn rope_settings_that_transformers_reads_otherwise_are_refused() {
    for (family, edit, part) in [
        (
            "llama-dynamic",
            json!({"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}),
            "rope_scaling and rope_parameters differ",
        ),
        (
            "phi3",
            json!({"rope_parameters": {"rope_type": "linear", "factor": 2.0}}),
            "Phi-3 has no RoPE scaling but longrope",
        ),
        (
            "phi3-long",
            json!({"original_max_position_embeddings": null}),
            "original_max_position_embeddings is only in the RoPE scaling",
        ),
    ] {
        let error = read(family, edit).unwrap_err();
        assert!(error.contains(part), "{family}: {error}");
    }
}

#[test]
fn windows_and_layers_without_rotation_are_those_of_transformers() {
    let windows = |family: &str, edit| {
        let layers = read(family, edit).unwrap().layers;
        layers.iter().map(|layer| layer.window).collect::<Vec<_>>()
    };
    let none = [None, None];
    assert_eq!(windows("mistral", json!({})), [Some(6); 2]);
    assert_eq!(windows("mistral", json!({"sliding_window": null})), none);
    // no shorter than the context: hides nothing
    assert_eq!(windows("mistral", json!({"sliding_window": 64})), none);
    let types = json!({"layer_types": null});
    assert_eq!(windows("qwen2-window", types), [None, Some(5), Some(5)]);
    let rotated = read(
        "smollm3",
        json!({"no_rope_layers": null, "no_rope_layer_interval": 2}),
    );
    let rotated = rotated.unwrap().layers.into_iter().map(|l| l.rotated);
    assert_eq!(
        rotated.collect::<Vec<_>>(),
        [true, false, true, false, true]
    );
}
