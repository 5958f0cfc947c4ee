//! Hugging Face directories, read and written.

use super::{CPU, assert_same_weights, copy, edit_json, edit_weights, hidden, load, says, tiny};
use candle_core::{DType, Tensor};
use models::{CausalLm, Loaded, Lora, LoraConfig, ModelSource};
use ops::Ragged;
use serde_json::json;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use testkit::{assert_close, golden};

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
fn half_precision_files_are_read_exactly_and_kept_in_bf16_where_it_is_exact() {
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
        let buffer = Tensor::zeros(4, DType::F32, CPU).unwrap();
        for name in ["inv_freq", "cos_cached", "sin_cached"] {
            let name = format!("model.layers.0.self_attn.rotary_emb.{name}");
            tensors.insert(name, buffer.clone());
        }
    });
    assert_same_weights(&load(dir.path()).unwrap().model, &tiny("tied").model);
}

/// Weights in f64 and f16 are read as f32.
#[test]
fn weights_in_other_precisions_are_read() {
    for dtype in [DType::F64, DType::F16, DType::BF16] {
        let dir = copy("tied");
        let file = dir.path().join("model.safetensors");
        edit_weights(&file, |tensors| {
            for tensor in tensors.values_mut() {
                *tensor = tensor.to_dtype(dtype).unwrap();
            }
        });
        let model = load(dir.path()).unwrap().model;
        for (name, tensor) in tiny("tied").model.tensors() {
            let wanted = tensor
                .to_dtype(dtype)
                .unwrap()
                .to_dtype(DType::F32)
                .unwrap();
            let found = model
                .tensors()
                .into_iter()
                .find(|(n, _)| *n == name)
                .unwrap()
                .1;
            let found = found.to_dtype(DType::F32).unwrap();
            assert_close(&name, &found, &wanted, 0.0);
        }
    }
}

#[test]
fn special_tokens_and_the_chat_template_are_read() {
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

    // several EOS tokens, the tokenizer's own first; of several templates the default
    let dir = copy("tied");
    fs::remove_file(dir.path().join("chat_template.jinja")).unwrap();
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
fn a_tokenizers_truncation_and_padding_are_turned_off() {
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
fn model_sources_are_parsed() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().to_str().unwrap();
    assert_eq!(
        ModelSource::parse(text).unwrap(),
        ModelSource::Dir(dir.path().into())
    );
    let gguf = dir.path().join("m.gguf");
    fs::write(&gguf, "").unwrap();
    assert_eq!(
        ModelSource::parse(gguf.to_str().unwrap()).unwrap(),
        ModelSource::Gguf(gguf)
    );
    assert_eq!(
        ModelSource::parse("org/name-1.2_x").unwrap(),
        ModelSource::Hub("org/name-1.2_x".into())
    );
    let bin = dir.path().join("m.bin");
    fs::write(&bin, "").unwrap();
    says(
        ModelSource::parse(bin.to_str().unwrap()),
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
        says(ModelSource::parse(text), &[text, "no such directory"]);
    }
}

/// Writes the files that scripts/golden/check_peft.py gives to transformers and PEFT, into
/// WICK_PEFT_OUT if it is set: a directory for LLaMA 3 and one for each case of every family.
#[test]
fn files_for_transformers_and_peft() {
    let temp = tempfile::tempdir().unwrap();
    let out = std::env::var_os("WICK_PEFT_OUT").map_or(temp.path().to_path_buf(), Into::into);
    let rslora = LoraConfig {
        rslora: true,
        targets: models::LoraTargets::names(
            ["down", "q", "k", "v", "o", "gate", "up"].map(|p| format!("{p}_proj")),
        ),
        ..LoraConfig::default()
    };
    write_for_peers(&tiny("llama3"), rslora, &out.join("llama3"));
    let cases = fs::read_dir(golden("families")).unwrap();
    let mut cases: Vec<_> = cases.map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() > 5);
    for dir in cases {
        let patterns = LoraConfig {
            targets: models::LoraTargets::AllLinear,
            rank_pattern: [("layers.0.self_attn.o_proj".to_string(), 5)].into(),
            alpha_pattern: [(".*down_proj".to_string(), 2.0)].into(),
            ..LoraConfig::default()
        };
        let name = dir.file_name().unwrap();
        write_for_peers(&load(&dir).unwrap(), patterns, &out.join(name));
    }
}

/// Writes base/, merged/, adapter/ and logits.safetensors, and reads them back.
fn write_for_peers(base: &Loaded, config: LoraConfig, out: &Path) {
    let config = LoraConfig {
        r: 3,
        alpha: 7.0,
        ..config
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

    let vocab = base.model.config.vocab_size as u32;
    let ids: Vec<u32> = (0..60).map(|i| 3 + i * 37 % (vocab - 4)).collect();
    let logits = |model: &CausalLm, lora: Option<&Lora>| {
        let layout = Ragged::from_lens(&[ids.len()]);
        let hidden = model.hidden(&ids, &layout, lora, None).unwrap();
        crate::common::plain_logits(model, &hidden).detach()
    };
    let written_ids = Tensor::new(ids.as_slice(), CPU).unwrap();
    let found = HashMap::from([
        ("ids", written_ids.to_dtype(DType::I64).unwrap()),
        ("base", logits(&base.model, None)),
        ("adapter", logits(&base.model, Some(&lora))),
        ("merged", logits(&merged, None)),
    ]);
    assert_close("merged", &found["merged"], &found["adapter"], 2e-4);
    let (loaded, again) = (
        load(&out.join("base")).unwrap(),
        load(&out.join("merged")).unwrap(),
    );
    let read = Lora::load(&out.join("adapter"), &loaded.model).unwrap();
    assert_eq!(read.config.rank_pattern, config.rank_pattern);
    let read = logits(&loaded.model, Some(&read));
    assert_close("read back", &read, &found["adapter"], 1e-6);
    let again = logits(&again.model, None);
    assert_close("merged, read back", &again, &found["merged"], 0.0);
    candle_core::safetensors::save(&found, out.join("logits.safetensors")).unwrap();
}
