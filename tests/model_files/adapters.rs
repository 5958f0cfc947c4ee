//! PEFT's adapter files.

use super::{CPU, copy, edit_json, edit_weights, says, tiny};
use candle_core::Tensor;
use models::{CausalLm, Config, Lora};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use testkit::{assert_close, golden, golden_tensors};

#[test]
fn adapters_round_trip_byte_for_byte() {
    let model = tiny("tied").model;
    for name in ["adapter", "rslora"] {
        let from = golden("tiny-llama").join(name);
        let lora = Lora::load(&from, &model).unwrap();
        let peft = golden_tensors(&format!("tiny-llama/{name}/adapter_model.safetensors"));
        assert_eq!(lora.tensors().len(), peft.len());
        for (key, tensor) in lora.tensors() {
            assert_close(&key, &tensor, &peft[&key], 0.0);
        }
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        lora.save(one.path(), "org/base").unwrap();
        let again = Lora::load(one.path(), &model).unwrap();
        assert_eq!(again.config, lora.config);
        // trainable or not, the file is the same
        again
            .trainable()
            .unwrap()
            .save(two.path(), "org/base")
            .unwrap();
        for file in ["adapter_model.safetensors", "adapter_config.json"] {
            let read = |dir: &TempDir| fs::read(dir.path().join(file)).unwrap();
            assert!(read(&one) == read(&two), "{name}/{file}");
        }
        let config = fs::read(one.path().join("adapter_config.json")).unwrap();
        let config: Value = serde_json::from_slice(&config).unwrap();
        assert_eq!(config["base_model_name_or_path"], "org/base");
        assert_eq!(config["peft_type"], "LORA");
        assert_eq!(config["use_rslora"], name == "rslora");
    }
}

#[test]
fn an_adapter_whose_config_has_a_key_twice_is_refused() {
    let dir = copy("adapter");
    let file = dir.path().join("adapter_config.json");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen('{', "{\"r\": 2, \"r\": 4, ", 1)).unwrap();
    let expected = &["adapter_config.json", "has the key \"r\" twice"];
    says(Lora::load(dir.path(), &tiny("tied").model), expected);
}

#[test]
fn bad_adapters_are_refused() {
    let model = tiny("tied").model;
    let cases: &[(&str, Value, &[&str])] = &[
        ("peft_type", json!("IA3"), &["adapter_config.json", "IA3"]),
        (
            "rank_pattern",
            json!({"q_proj": 2}),
            &["adapter_model.safetensors", "q_proj.lora_A", "another base"],
        ),
        ("target_modules", json!(5), &["target_modules = 5", "list"]),
        (
            "target_modules",
            json!(["q_proj", "wi"]),
            &["\"wi\" matches no layer"],
        ),
        (
            "target_modules",
            Value::Null,
            &["target_modules is missing"],
        ),
        (
            "r",
            json!(5),
            &["adapter_model.safetensors", "lora_A", "another base"],
        ),
        ("r", json!("x"), &["r is missing"]),
        ("r", json!(0), &["rank"]),
        ("lora_alpha", Value::Null, &["lora_alpha"]),
        (
            "init_lora_weights",
            json!("pissa"),
            &["pissa", "changes the base", "merge it"],
        ),
    ];
    for (key, value, parts) in cases {
        let dir = copy("adapter");
        edit_json(&dir.path().join("adapter_config.json"), |v| {
            v[*key] = value.clone();
        });
        says(Lora::load(dir.path(), &model), parts);
    }
    says(
        Lora::load(Path::new("nowhere"), &model),
        &["nowhere/adapter_config.json"],
    );

    let weights = |edit: fn(&mut HashMap<String, Tensor>), parts: &[&str]| {
        let dir = copy("adapter");
        edit_weights(&dir.path().join("adapter_model.safetensors"), edit);
        says(Lora::load(dir.path(), &model), parts);
    };
    const KEY: &str = "base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight";
    weights(|t| drop(t.remove(KEY)), &[KEY, "missing"]);
    weights(
        |t| drop(t.insert("extra".into(), t[KEY].clone())),
        &["unexpected tensor extra", "none of LoRA's", "merge it"],
    );
    weights(
        |t| drop(t.insert(KEY.replace("layers.1", "layers.2"), t[KEY].clone())),
        &["unexpected tensor", "layers.2", "another base"],
    );
    let dir = copy("adapter");
    let file = dir.path().join("adapter_model.safetensors");
    fs::rename(&file, dir.path().join("adapter_model.bin")).unwrap();
    says(
        Lora::load(dir.path(), &model),
        &["adapter_model.bin is not read", "merge it"],
    );
    let dir = copy("adapter");
    let file = dir.path().join("adapter_model.safetensors");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 10]).unwrap();
    says(
        Lora::load(dir.path(), &model),
        &["adapter_model.safetensors", "corrupt or truncated"],
    );
}

#[test]
fn options_that_are_not_implemented_or_not_known_are_refused() {
    let model = tiny("tied").model;
    let load = |key: &str, value: &Value| {
        let dir = copy("adapter");
        edit_json(&dir.path().join("adapter_config.json"), |v| {
            v[key] = value.clone();
        });
        Lora::load(dir.path(), &model)
    };
    for (key, value) in [
        ("use_dora", json!(true)),
        ("bias", json!("all")),
        ("bias", json!("lora_only")),
        ("modules_to_save", json!(["embed_tokens"])),
        ("trainable_token_indices", json!([1])),
        ("exclude_modules", json!(["q_proj"])),
        ("fan_in_fan_out", json!(true)),
        ("layers_to_transform", json!([1])),
        ("layers_to_transform", json!(0)),
        ("megatron_config", json!({"a": 1})),
        ("corda_config", json!({"a": 1})),
        ("lora_bias", json!(true)),
    ] {
        let expected = format!("{key} = {value} is not supported; merge it into its base");
        let how = ["adapter_config.json", &expected, "merge_and_unload()"];
        says(load(key, &value), &how);
    }
    for (key, value) in [
        ("some_new_option", json!(5)),
        ("some_new_option", json!("x")),
        ("use_new_scaling", json!(true)),
        ("new_config", json!({"a": null})),
    ] {
        let expected = format!("{key} = {value} is not known here");
        says(load(key, &value), &["adapter_config.json", &expected]);
    }
    // keys that only describe an adapter, and unknown ones that say nothing
    for (key, value) in [
        ("peft_version", json!("9.0")),
        (
            "auto_mapping",
            json!({"base_model_class": "LlamaForCausalLM"}),
        ),
        ("eva_config", json!({"rho": 2.0})),
        ("qalora_group_size", json!(32)),
        ("layers_pattern", json!("layers")),
        ("ensure_weight_tying", json!(true)),
        ("init_lora_weights", json!("gaussian")),
        ("some_new_option", Value::Null),
        ("some_new_option", json!(false)),
        ("some_new_option", json!({})),
        ("some_new_option", json!("")),
    ] {
        load(key, &value).unwrap_or_else(|e| panic!("{key} = {value}: {e}"));
    }
}

#[test]
fn an_adapter_of_another_base_is_refused() {
    let untied = tiny("untied").model; // 3 layers and wider heads
    let dir = golden("tiny-llama/adapter");
    says(
        Lora::load(&dir, &untied),
        &["adapter_model.safetensors", "another base"],
    );
    // same widths, one layer fewer: the rest would be left over
    let tied = tiny("tied").model.config;
    let config = Config {
        num_hidden_layers: 1,
        layers: vec![tied.layers[0]; 1],
        ..tied.clone()
    };
    let shallow = CausalLm::init(&config, 0, CPU).unwrap();
    says(
        Lora::load(&dir, &shallow),
        &["unexpected tensor", "layers.1", "another base"],
    );
    let deep = Config {
        num_hidden_layers: 3,
        layers: vec![tied.layers[0]; 3],
        ..tied
    };
    let deep = CausalLm::init(&deep, 0, CPU).unwrap();
    says(
        Lora::load(&dir, &deep),
        &["layers.2", "missing", "another base"],
    );
    let lora = Lora::load(&dir, &tiny("tied").model).unwrap();
    says(deep.merged(&lora), &["adapter of 2 layers", "model of 3"]);
    // same shape, other weights: what we saved knows its base
    let dir = tempfile::tempdir().unwrap();
    lora.save(dir.path(), "org/base").unwrap();
    let other = CausalLm::init(&tiny("tied").model.config, 0, CPU).unwrap();
    says(
        Lora::load(dir.path(), &other),
        &["another base", "trained on org/base"],
    );
}

#[test]
fn numbers_that_are_not_finite_are_refused() {
    let model = tiny("tied").model;
    let key = "base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight";
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let dir = copy("adapter");
        let poison = |tensors: &mut HashMap<String, Tensor>, key: &str| {
            let tensor = tensors.get_mut(key).unwrap();
            let shape = tensor.shape().clone();
            let mut numbers = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            numbers[5] = bad;
            *tensor = Tensor::from_vec(numbers, shape, CPU).unwrap();
        };
        edit_weights(&dir.path().join("adapter_model.safetensors"), |t| {
            poison(t, key)
        });
        says(
            Lora::load(dir.path(), &model),
            &[
                &format!("tensor {key} holds {bad} (number 5)"),
                "adapter_model.safetensors",
            ],
        );
        let base = copy("tied");
        let key = "model.layers.0.mlp.up_proj.weight";
        edit_weights(&base.path().join("model.safetensors"), |t| poison(t, key));
        let source = models::ModelSource::Dir(base.path().to_path_buf());
        says(
            models::load(&source, CPU),
            &[&format!("tensor {key} holds {bad} (number 5)")],
        );
        let file = base.path().join("head.safetensors");
        let head = models::ScalarHead::zeros(8, CPU).unwrap();
        head.save(&file).unwrap();
        edit_weights(&file, |t| {
            t.insert("bias".into(), Tensor::new(&[bad], CPU).unwrap());
        });
        says(
            models::ScalarHead::load(&file, 8, CPU),
            &[&format!("tensor bias holds {bad} (number 0)")],
        );
    }
}
