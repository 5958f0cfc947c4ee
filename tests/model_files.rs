//! Model and adapter files, good and bad: every bad one is one line that names the file and what is wrong with it.

use crate::common::plain_logits;
use candle_core::{DType, Device, Tensor};
use models::{CausalLm, Config, Loaded, Lora, LoraConfig, RopeScaling, Source};
use ops::Ragged;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use testkit::{assert_close, golden, golden_json, golden_tensors, values};

const CPU: &Device = &Device::Cpu;

fn load(dir: &Path) -> models::Result<Loaded> {
    models::load(&Source::Dir(dir.to_path_buf()), CPU)
}

fn tiny(name: &str) -> Loaded {
    load(&golden("tiny-llama").join(name)).unwrap()
}

/// A copy of a golden directory that a test may spoil.
fn copy(name: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(golden("tiny-llama").join(name)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    dir
}

fn edit_json(file: &Path, edit: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    edit(&mut value);
    fs::write(file, value.to_string()).unwrap();
}

fn edit_weights(file: &Path, edit: impl FnOnce(&mut HashMap<String, Tensor>)) {
    let mut tensors = candle_core::safetensors::load(file, CPU).unwrap();
    edit(&mut tensors);
    candle_core::safetensors::save(&tensors, file).unwrap();
}

/// The error is one line with all these parts.
#[track_caller]
fn says<T>(result: models::Result<T>, parts: &[&str]) {
    let Err(error) = result else {
        panic!("no error, wanted {parts:?}");
    };
    let text = error.to_string();
    assert!(!text.contains('\n'), "more than a line: {text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

fn hidden(model: &CausalLm) -> Tensor {
    let ids: Vec<u32> = (0..20).map(|i| 3 + i * 17 % 90).collect();
    let layout = Ragged::from_lens(&[13, 7]);
    model.hidden(&ids, &layout, None, None).unwrap()
}

fn assert_same_weights(a: &CausalLm, b: &CausalLm) {
    for ((name, a), (other, b)) in a.tensors().into_iter().zip(b.tensors()) {
        assert_eq!(name, other);
        let wide = |tensor: &Tensor| ops::widened(tensor).unwrap();
        assert_close(&name, &wide(&a), &wide(&b), 0.0);
    }
}

#[test]
fn shards_equal_the_single_file() {
    let dir = copy("tied");
    let file = dir.path().join("model.safetensors");
    let tensors = candle_core::safetensors::load(&file, CPU).unwrap();
    fs::remove_file(&file).unwrap();
    let mut shards = vec![HashMap::new(); 3];
    let mut map = serde_json::Map::new();
    let mut names: Vec<_> = tensors.keys().cloned().collect();
    names.sort();
    for (i, name) in names.into_iter().enumerate() {
        map.insert(name.clone(), json!(format!("part-{}.safetensors", i % 3)));
        shards[i % 3].insert(name.clone(), tensors[&name].clone());
    }
    for (i, shard) in shards.iter().enumerate() {
        let file = dir.path().join(format!("part-{i}.safetensors"));
        candle_core::safetensors::save(shard, file).unwrap();
    }
    let index = dir.path().join("model.safetensors.index.json");
    fs::write(&index, json!({ "weight_map": map }).to_string()).unwrap();
    let sharded = load(dir.path()).unwrap().model;
    assert_same_weights(&sharded, &tiny("tied").model);

    fs::remove_file(dir.path().join("part-1.safetensors")).unwrap();
    says(
        load(dir.path()),
        &["part-1.safetensors", "shard is missing"],
    );
    for (content, part) in [
        (json!({}), "has no weight_map"),
        (
            json!({"weight_map": {"x": "../secret.safetensors"}}),
            "x points to",
        ),
        (json!({"weight_map": {"x": 3}}), "x points to 3"),
    ] {
        fs::write(&index, content.to_string()).unwrap();
        says(load(dir.path()), &["index.json", part]);
    }
}

#[test]
fn half_precision_files_are_read_as_they_are_and_kept_in_bf16_where_that_is_exact() {
    for dtype in [DType::F16, DType::BF16] {
        let dir = copy("tied");
        let mut wanted = HashMap::new();
        edit_weights(&dir.path().join("model.safetensors"), |tensors| {
            for (name, tensor) in tensors.iter_mut() {
                *tensor = tensor.to_dtype(dtype).unwrap();
                wanted.insert(name.clone(), tensor.to_dtype(DType::F32).unwrap());
            }
        });
        for (name, found) in load(dir.path()).unwrap().model.tensors() {
            let halved = dtype == DType::BF16 && found.rank() == 2;
            let kept = if halved { DType::BF16 } else { DType::F32 };
            assert_eq!(found.dtype(), kept, "{dtype:?} {name}");
            assert_close(&format!("{dtype:?} {name}"), &found, &wanted[&name], 0.0);
        }
    }
}

#[test]
fn tied_embeddings_ignore_a_second_head() {
    let dir = copy("tied");
    edit_weights(&dir.path().join("model.safetensors"), |tensors| {
        let head = tensors["model.embed_tokens.weight"].copy().unwrap();
        tensors.insert("lm_head.weight".into(), head);
        let freq = Tensor::zeros(4, DType::F32, CPU).unwrap();
        let name = "model.layers.0.self_attn.rotary_emb.inv_freq";
        tensors.insert(name.into(), freq);
    });
    assert_same_weights(&load(dir.path()).unwrap().model, &tiny("tied").model);
}

#[test]
fn what_comes_with_a_model() {
    let loaded = tiny("tied");
    let special = &loaded.special;
    assert_eq!(special.bos, Some((1, "<s>".to_string())));
    assert_eq!(special.eos, [(2, "</s>".to_string())]);
    assert!(!special.add_bos);
    let template = loaded.chat_template.unwrap();
    assert!(template.starts_with("{% for m in messages %}<s>{{ m['role'] }}"));
    let ids = loaded.tokenizer.encode("the red boat</s>", false).unwrap();
    assert_eq!(*ids.get_ids().last().unwrap(), 2);
    assert!(ids.get_ids().len() > 2);

    // several ends, the tokenizer's own first; a template inside tokenizer_config.json goes before the file
    let dir = copy("tied");
    edit_json(&dir.path().join("generation_config.json"), |v| {
        v["eos_token_id"] = json!([1, 2]);
    });
    edit_json(&dir.path().join("tokenizer_config.json"), |v| {
        v["chat_template"] =
            json!([{"name": "tool", "template": "T"}, {"name": "default", "template": "D"}]);
        v["add_bos_token"] = json!(true);
    });
    let loaded = load(dir.path()).unwrap();
    let eos: Vec<u32> = loaded.special.eos.iter().map(|(id, _)| *id).collect();
    assert_eq!(eos, [2, 1]);
    assert!(loaded.special.add_bos);
    assert_eq!(loaded.chat_template.as_deref(), Some("D"));
}

#[test]
fn a_tokenizer_that_cuts_or_pads_is_told_not_to() {
    let dir = copy("tied");
    edit_json(&dir.path().join("tokenizer.json"), |v| {
        v["truncation"] =
            json!({"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0});
        v["padding"] = json!({"strategy": {"Fixed": 50}, "direction": "Right", "pad_to_multiple_of": null,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "<unk>"});
    });
    let text = "how many fish are in the lake?";
    let encode = |l: Loaded| l.tokenizer.encode(text, false).unwrap().get_ids().to_vec();
    assert_eq!(encode(load(dir.path()).unwrap()), encode(tiny("tied")));
}

#[test]
fn saved_models_load_as_they_were() {
    for name in ["tied", "untied", "llama3"] {
        let a = tiny(name);
        let dir = tempfile::tempdir().unwrap();
        let template = a.chat_template.as_deref();
        a.model
            .save_hf(dir.path(), &a.tokenizer, &a.special, template)
            .unwrap();
        let b = load(dir.path()).unwrap();
        assert_eq!(a.model.config, b.model.config, "{name}");
        assert_eq!(a.special, b.special);
        assert_eq!(a.chat_template, b.chat_template);
        assert_same_weights(&a.model, &b.model);
        assert_eq!(
            a.model.fingerprint().unwrap(),
            b.model.fingerprint().unwrap()
        );
        let ids = |l: &Loaded| {
            let text = "the lamp,<s>red stone?";
            l.tokenizer.encode(text, false).unwrap().get_ids().to_vec()
        };
        assert_eq!(ids(&a), ids(&b));
    }
    // a merged model too
    let a = tiny("tied");
    let lora = Lora::load(&golden("tiny-llama/rslora"), &a.model).unwrap();
    let merged = a.model.merged(&lora).unwrap();
    let dir = tempfile::tempdir().unwrap();
    merged
        .save_hf(dir.path(), &a.tokenizer, &a.special, None)
        .unwrap();
    let b = load(dir.path()).unwrap();
    assert_eq!(b.chat_template, None);
    assert_close("merged", &hidden(&b.model), &hidden(&merged), 0.0);
}

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
fn bad_adapters() {
    let model = tiny("tied").model;
    let cases: &[(&str, Value, &[&str])] = &[
        ("peft_type", json!("IA3"), &["adapter_config.json", "IA3"]),
        (
            "use_dora",
            json!(true),
            &["use_dora = true is not supported"],
        ),
        ("bias", json!("all"), &["bias = \"all\""]),
        ("modules_to_save", json!(["lm_head"]), &["modules_to_save"]),
        ("rank_pattern", json!({"q_proj": 2}), &["rank_pattern"]),
        ("target_modules", json!(".*q"), &["target_modules", "list"]),
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
            &["pissa", "changes the base"],
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
        &["unexpected tensor extra"],
    );
    let dir = copy("adapter");
    let file = dir.path().join("adapter_model.safetensors");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 10]).unwrap();
    says(
        Lora::load(dir.path(), &model),
        &["adapter_model.safetensors", "damaged or truncated"],
    );
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
    let config = Config {
        num_hidden_layers: 1,
        ..tiny("tied").model.config
    };
    let shallow = CausalLm::init(&config, 0, CPU).unwrap();
    says(
        Lora::load(&dir, &shallow),
        &["unexpected tensor", "layers.1", "another base"],
    );
    let deep = Config {
        num_hidden_layers: 3,
        ..config
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
fn bad_weights() {
    const Q: &str = "model.layers.1.self_attn.q_proj.weight";
    let weights = |edit: fn(&mut HashMap<String, Tensor>), parts: &[&str]| {
        let dir = copy("tied");
        edit_weights(&dir.path().join("model.safetensors"), edit);
        says(load(dir.path()), parts);
    };
    weights(|t| drop(t.remove(Q)), &["model.safetensors", Q, "missing"]);
    weights(
        |t| drop(t.insert("model.layers.1.self_attn.q_proj.bias".into(), t[Q].clone())),
        &["model.safetensors", "unexpected tensor", "q_proj.bias"],
    );
    weights(
        |t| drop(t.insert(Q.into(), t[Q].narrow(0, 0, 8).unwrap().copy().unwrap())),
        &["model.safetensors", Q, "[8, 32]", "[32, 32]"],
    );
    weights(
        |t| drop(t.insert(Q.into(), t[Q].to_dtype(DType::I64).unwrap())),
        &["model.safetensors", Q, "I64"],
    );

    let bytes = fs::read(golden("tiny-llama/tied/model.safetensors")).unwrap();
    let mut huge_header = bytes.clone();
    huge_header[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    for spoiled in [
        &bytes[..bytes.len() / 2],
        &bytes[..4],
        &[],
        b"<html>not found</html>",
        &huge_header,
    ] {
        let dir = copy("tied");
        fs::write(dir.path().join("model.safetensors"), spoiled).unwrap();
        says(
            load(dir.path()),
            &["model.safetensors", "damaged or truncated"],
        );
    }

    let dir = copy("tied");
    fs::remove_file(dir.path().join("model.safetensors")).unwrap();
    says(load(dir.path()), &["no model.safetensors"]);
    fs::write(dir.path().join("pytorch_model.bin"), "").unwrap();
    says(
        load(dir.path()),
        &["pytorch_model.bin", "convert it to safetensors"],
    );
    says(
        load(tempfile::tempdir().unwrap().path()),
        &["no config.json"],
    );
}

#[test]
fn bad_tokenizers() {
    let dir = copy("tied");
    let file = dir.path().join("tokenizer.json");
    edit_json(&file, |v| {
        let vocab = v["model"]["vocab"].as_object_mut().unwrap();
        vocab.insert("zzz".into(), json!(96));
    });
    says(
        load(dir.path()),
        &["tokenizer.json", "97 ids", "vocabulary is 96"],
    );
    fs::write(&file, "{}").unwrap();
    says(load(dir.path()), &["tokenizer.json", "not a tokenizer"]);
    let whole = fs::read_to_string(golden("tiny-llama/tied/tokenizer.json")).unwrap();
    let (before, _) = whole.split_once("\"prepend_scheme\"").unwrap();
    fs::write(&file, before).unwrap(); // cut off in the decoder
    says(load(dir.path()), &["tokenizer.json", "not JSON"]);
    fs::remove_file(&file).unwrap();
    says(load(dir.path()), &["tokenizer.json"]);
    let dir = copy("tied");
    fs::write(dir.path().join("tokenizer_config.json"), "{").unwrap();
    says(load(dir.path()), &["tokenizer_config.json", "not JSON"]);
}

#[test]
fn bad_configs() {
    let rope = |kind: &str| json!({"rope_type": kind, "rope_theta": 1e4});
    let cases: &[(&str, Value, &str)] = &[
        ("hidden_size", Value::Null, "hidden_size is missing"),
        ("hidden_size", json!("32"), "hidden_size is \"32\""),
        ("num_hidden_layers", json!(-1), "num_hidden_layers is -1"),
        ("num_hidden_layers", json!(1u64 << 40), "num_hidden_layers"),
        ("num_hidden_layers", json!(1u64 << 30), "is damaged"),
        ("num_attention_heads", json!(0), "num_attention_heads is 0"),
        (
            "num_key_value_heads",
            json!(3),
            "not a multiple of num_key_value_heads 3",
        ),
        ("head_dim", json!(7), "head_dim 7 is odd"),
        ("rms_norm_eps", json!(0), "rms_norm_eps"),
        (
            "model_type",
            json!("mistral"),
            "\"mistral\" is not supported",
        ),
        (
            "architectures",
            json!(["LlamaForSequenceClassification"]),
            "LlamaForSequenceClassification",
        ),
        ("attention_bias", json!(true), "attention_bias = true"),
        ("mlp_bias", json!(true), "mlp_bias = true"),
        ("hidden_act", json!("gelu"), "hidden_act \"gelu\""),
        ("quantization_config", json!({"bits": 4}), "quantised"),
        ("rope_parameters", rope("yarn"), "\"yarn\" is not supported"),
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
            "no ramp",
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
fn rope_settings_old_and_new() {
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

#[test]
fn sources() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().to_str().unwrap();
    assert_eq!(Source::parse(text).unwrap(), Source::Dir(dir.path().into()));
    let gguf = dir.path().join("m.gguf");
    fs::write(&gguf, "").unwrap();
    assert_eq!(
        Source::parse(gguf.to_str().unwrap()).unwrap(),
        Source::Gguf(gguf)
    );
    assert_eq!(
        Source::parse("org/name-1.2_x").unwrap(),
        Source::Hub("org/name-1.2_x".into())
    );
    let bin = dir.path().join("m.bin");
    fs::write(&bin, "").unwrap();
    says(
        Source::parse(bin.to_str().unwrap()),
        &["m.bin", "not a .gguf"],
    );
    for text in [
        "",
        "name",
        "a/b/c",
        "/nowhere/model",
        "../x",
        "missing/m.gguf",
        "org/na me",
        "golden/x", // golden is a directory here
    ] {
        says(Source::parse(text), &[text, "no such directory"]);
    }
}

fn gguf(path: &Path) -> models::Result<Loaded> {
    models::load(&Source::Gguf(path.to_path_buf()), CPU)
}

#[test]
fn gguf_files_hold_what_transformers_finds() {
    let logits = golden_tensors("tiny-gguf/golden.safetensors");
    let strings = golden_json("tiny-gguf/golden.json");
    for name in ["spm", "bpe"] {
        let loaded = gguf(&golden(&format!("tiny-gguf/{name}.gguf"))).unwrap();
        for case in strings[name].as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            let found = loaded.tokenizer.encode(text, false).unwrap();
            let ids = case["ids"].as_array().unwrap().iter();
            let wanted: Vec<u32> = ids.map(|v| v.as_u64().unwrap() as u32).collect();
            assert_eq!(found.get_ids(), wanted, "{name} {text:?}");
            if name == "bpe" || !text.contains("<|") {
                let back = loaded.tokenizer.decode(&wanted, false).unwrap();
                assert_eq!(back, text, "{name}");
            }
        }
        let ids: Vec<u32> = values(&logits["ids"])
            .into_iter()
            .map(|v| v as u32)
            .collect();
        let layout = Ragged::from_lens(&[ids.len()]);
        let hidden = loaded.model.hidden(&ids, &layout, None, None).unwrap();
        let last = hidden.narrow(0, ids.len() - 8, 8).unwrap();
        let found = plain_logits(&loaded.model, &last);
        assert_close(name, &found, &logits[name], 1e-4);
        assert_eq!(loaded.chat_template.as_deref(), Some("{{ messages }}"));
        assert!(loaded.special.add_bos);
        let one = loaded
            .tokenizer
            .encode("the", true)
            .unwrap()
            .get_ids()
            .to_vec();
        assert_eq!(one[0], loaded.special.bos.as_ref().unwrap().0);
        let eos: Vec<&str> = loaded.special.eos.iter().map(|(_, t)| t.as_str()).collect();
        let wanted: &[&str] = if name == "spm" {
            &["</s>"]
        } else {
            &["</s>", "<|end|>"]
        };
        assert_eq!(eos, wanted);
        let config = &loaded.model.config;
        assert_eq!(
            (config.rms_norm_eps, config.tie_word_embeddings),
            (1e-5, name == "spm")
        );
        let llama3 =
            matches!(config.rope_scaling, RopeScaling::Llama3 { factor, .. } if factor == 8.0);
        assert_eq!(llama3, name == "bpe");

        // and out again as a Hugging Face directory
        let dir = tempfile::tempdir().unwrap();
        let (model, special) = (&loaded.model, &loaded.special);
        model
            .save_hf(dir.path(), &loaded.tokenizer, special, None)
            .unwrap();
        let again = load(dir.path()).unwrap();
        assert_eq!(again.model.config, loaded.model.config);
        assert_eq!(&again.special, special);
        assert_same_weights(&again.model, &loaded.model);
    }
}

#[test]
fn bad_gguf_files() {
    let bytes = fs::read(golden("tiny-gguf/spm.gguf")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.gguf");
    let spoil = |bytes: &[u8], parts: &[&str]| {
        fs::write(&file, bytes).unwrap();
        says(gguf(&file), parts);
    };
    let n = bytes.len();
    spoil(&[], &["m.gguf", "damaged or truncated"]);
    spoil(b"<html>404</html>", &["m.gguf", "damaged or truncated"]);
    spoil(&bytes[..100], &["m.gguf", "damaged or truncated"]);
    spoil(&bytes[..n / 2], &["m.gguf", "tensor", "cannot be read"]);
    // lengths that no file has: the number of tensors, of entries, the length of the first key
    for at in [8, 16, 24] {
        let mut huge = bytes.clone();
        huge[at..at + 8].copy_from_slice(&u64::MAX.to_le_bytes());
        spoil(&huge, &["m.gguf", "damaged or truncated"]);
    }
    let find = |needle: &[u8]| {
        bytes
            .windows(needle.len())
            .position(|w| w == needle)
            .unwrap()
    };
    let swap = |old: &str, new: &str| {
        assert_eq!(old.len(), new.len());
        let at = find(old.as_bytes());
        let mut copy = bytes.clone();
        copy[at..at + new.len()].copy_from_slice(new.as_bytes());
        copy
    };
    spoil(
        &swap("blk.1.attn_q.weight", "blk.1.attn_x.weight"),
        &["blk.1.attn_q.weight is missing"],
    );
    spoil(
        &swap("llama.block_count", "llama.clock_bount"),
        &["llama.block_count is missing"],
    );
    spoil(
        &swap("tokenizer.ggml.scores", "tokenizer.ggml.Scores"),
        &["scores is missing"],
    );
    // one layer fewer declared than there is
    let mut copy = bytes.clone();
    copy[find(b"llama.block_count") + 17 + 4] = 1;
    spoil(&copy, &["unexpected tensor blk.1."]);
    let mut copy = bytes.clone();
    copy[find(b"llama.feed_forward_length") + 25 + 4] = 32;
    spoil(&copy, &["blk.0.ffn_gate.weight is [64, 32]", "[32, 32]"]);
    let mut copy = bytes.clone();
    copy[find(b"tokenizer.ggml.eos_token_id") + 27 + 4..][..4].copy_from_slice(&[255; 4]);
    spoil(
        &copy,
        &["tokenizer.ggml.eos_token_id is outside the vocabulary"],
    );
    spoil(&bytes[..n - 1], &["cannot be read"]);
    // never a panic, whatever byte of the header is spoiled
    for at in (0..4000).step_by(7) {
        let mut copy = bytes.clone();
        copy[at] ^= 0xff;
        fs::write(&file, &copy).unwrap();
        if let Err(error) = gguf(&file) {
            assert!(!error.to_string().contains('\n'), "byte {at}: {error}");
        }
    }
}

/// Writes what scripts/golden/check_peft.py gives to transformers and PEFT: into WICK_PEFT_OUT where it is set.
#[test]
fn files_for_transformers_and_peft() {
    let temp = tempfile::tempdir().unwrap();
    let out = std::env::var_os("WICK_PEFT_OUT").map_or(temp.path().to_path_buf(), Into::into);
    let base = tiny("llama3");
    let config = LoraConfig {
        r: 3,
        alpha: 7.0,
        rslora: true,
        targets: ["down", "q", "k", "v", "o", "gate", "up"]
            .map(|p| format!("{p}_proj"))
            .to_vec(),
        ..LoraConfig::default()
    };
    let lora = Lora::init(&config, &base.model, 5)
        .unwrap()
        .trainable()
        .unwrap();
    for (i, (_, var)) in lora.vars().into_iter().enumerate() {
        let n = var.elem_count();
        let noise: Vec<f32> = (0..n)
            .map(|j| ((i * 31 + j * 17) % 23) as f32 / 50.0 - 0.2)
            .collect();
        var.set(&Tensor::from_vec(noise, var.shape(), CPU).unwrap())
            .unwrap();
    }
    let merged = base.model.merged(&lora).unwrap();
    for dir in ["base", "merged", "adapter"] {
        fs::create_dir_all(out.join(dir)).unwrap();
    }
    let template = base.chat_template.as_deref();
    let save = |model: &CausalLm, dir| {
        let dir = out.join(dir);
        model
            .save_hf(&dir, &base.tokenizer, &base.special, template)
            .unwrap();
    };
    save(&base.model, "base");
    save(&merged, "merged");
    lora.save(&out.join("adapter"), "base").unwrap();

    let ids: Vec<u32> = (0..60).map(|i| 3 + i * 37 % 90).collect();
    let logits = |model: &CausalLm, lora: Option<&Lora>| {
        let layout = Ragged::from_lens(&[ids.len()]);
        let hidden = model.hidden(&ids, &layout, lora, None).unwrap();
        crate::common::plain_logits(model, &hidden).detach()
    };
    let found = HashMap::from([
        (
            "ids",
            Tensor::new(ids.as_slice(), CPU)
                .unwrap()
                .to_dtype(DType::I64)
                .unwrap(),
        ),
        ("base", logits(&base.model, None)),
        ("adapter", logits(&base.model, Some(&lora))),
        ("merged", logits(&merged, None)),
    ]);
    assert_close("merged", &found["merged"], &found["adapter"], 1e-4);
    let (loaded, again) = (
        load(&out.join("base")).unwrap(),
        load(&out.join("merged")).unwrap(),
    );
    let read = Lora::load(&out.join("adapter"), &loaded.model).unwrap();
    assert_close(
        "read back",
        &logits(&loaded.model, Some(&read)),
        &found["adapter"],
        1e-6,
    );
    assert_close(
        "merged, read back",
        &logits(&again.model, None),
        &found["merged"],
        0.0,
    );
    candle_core::safetensors::save(&found, out.join("logits.safetensors")).unwrap();
}
