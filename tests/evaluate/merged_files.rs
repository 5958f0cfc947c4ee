//! The files that `wick merge` writes beside the weights.
//!
//! Long because a function has all files of a tokenizer.

use super::world::World;
use candle_core::Device;
use evaluate::{MergeConfig, merge};
use policy::{Policy, TemplateChoice};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What other programs read beside the weights.
#[test]
fn a_merged_model_keeps_the_defaults_of_its_base() {
    let world = World::new();
    let edit = |name: &str, keys: Value| {
        let file = world.path("base").join(name);
        let mut json: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        for (key, value) in keys.as_object().unwrap() {
            json[key] = value.clone();
        }
        std::fs::write(&file, json.to_string()).unwrap();
    };
    edit(
        "tokenizer_config.json",
        json!({"pad_token": "<s>", "unk_token": "not there", "padding_side": "left",
            "model_max_length": 77, "additional_special_tokens": ["</s>", "not there"]}),
    );
    edit(
        "generation_config.json",
        json!({"temperature": 0.6, "do_sample": true, "pad_token_id": 1, "transformers_version": "4"}),
    );
    edit("config.json", json!({"pad_token_id": 1}));
    world.sft("sft", 1);
    merge(&MergeConfig::new(&world.text("sft"), &world.path("merged"))).unwrap();
    let read = |name: &str| -> Value {
        let file = world.path("merged").join(name);
        serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
    };
    let settings = read("tokenizer_config.json");
    for (key, value) in [
        ("pad_token", json!("<s>")),
        ("unk_token", Value::Null),
        ("padding_side", json!("left")),
        ("model_max_length", json!(77)),
        ("additional_special_tokens", json!(["</s>"])),
        ("eos_token", json!("</s>")),
    ] {
        assert_eq!(settings[key], value, "{key}");
    }
    let generation = read("generation_config.json");
    let of_base: Value =
        serde_json::from_slice(&std::fs::read(world.path("base/generation_config.json")).unwrap())
            .unwrap();
    for key in [
        "temperature",
        "do_sample",
        "pad_token_id",
        "bos_token_id",
        "eos_token_id",
    ] {
        assert_eq!(generation[key], of_base[key], "{key}");
    }
    assert_eq!(generation.get("transformers_version"), None);
    assert_eq!(read("config.json")["pad_token_id"], 1);
}

/// The tokenizer's files of a merged model are those of its base, byte for byte where nothing that
/// they say has changed, and keys that nothing here reads stay.
#[test]
fn a_merged_model_keeps_the_files_of_its_tokenizer() {
    let world = World::new();
    let base = |name: &str| world.path("base").join(name);
    let read = |dir: &str, name: &str| std::fs::read(world.path(dir).join(name)).unwrap();
    let json =
        |dir: &str, name: &str| -> Value { serde_json::from_slice(&read(dir, name)).unwrap() };
    // another layout than ours, and truncation, which is no part of the vocabulary
    let mut tokenizer = json("base", "tokenizer.json");
    tokenizer["truncation"] = json!({"direction": "Right", "max_length": 9,
        "strategy": "LongestFirst", "stride": 0});
    std::fs::write(base("tokenizer.json"), format!("{tokenizer:#}\n\n")).unwrap();
    let eos = json!({"content": "</s>", "lstrip": false, "rstrip": false});
    let settings = json!({
        "tokenizer_class": "LlamaTokenizerFast", "add_bos_token": true, "add_eos_token": false,
        "eos_token": eos, "bos_token": "<s>", "legacy": false, "mine": {"a": [1, null]},
        "model_max_length": 1e30, "padding_side": "right", "name_or_path": "/home/me/model",
        "chat_template": [{"name": "tools", "template": "{{ messages }}"},
            {"name": "default", "template": "{{ bos_token }}{% for m in messages %}{{ m.content }}</s>\
             {% endfor %}{% if add_generation_prompt %}> {% endif %}"}],
    });
    std::fs::write(base("tokenizer_config.json"), settings.to_string()).unwrap();
    let map = "{\n \"eos_token\": {\"content\": \"</s>\"},\n \"bos_token\": \"<s>\" }";
    for (name, bytes) in [
        ("special_tokens_map.json", map),
        ("added_tokens.json", "{ }"),
        ("tokenizer.model", "pieces"),
        ("vocab.json", "{}\n"),
        ("merges.txt", "#version\n"),
    ] {
        std::fs::write(base(name), bytes).unwrap();
    }
    let of_base = world.policy(&world.text("base"));
    let adapter = world.adapter(of_base.model(), 1);
    let merged = |name: &str| {
        let open = Policy::open(&world.text("base"), TemplateChoice::Chat, &Device::Cpu);
        let open = open.unwrap();
        let mut run = run::Run::create(&world.path(name), "sft", &json!({})).unwrap();
        policy::write_identity(&mut run, &open.base, &open.template).unwrap();
        run.replace_dir("adapter", |dir| Ok(adapter.save(dir, &world.text("base"))?))
            .unwrap();
        run.finish(&BTreeMap::new()).unwrap();
        let out = format!("{name}-merged");
        merge(&MergeConfig::new(&world.text(name), &world.path(&out))).unwrap();
        out
    };
    let out = merged("sft");
    for name in [
        "tokenizer.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "tokenizer.model",
        "vocab.json",
        "merges.txt",
    ] {
        assert!(read(&out, name) == read("base", name), "{name}");
    }
    let written = read(&out, "tokenizer_config.json");
    let whole = "\"model_max_length\": 1000000000000000019884624838656,";
    assert!(String::from_utf8(written).unwrap().contains(whole));
    let written = json(&out, "tokenizer_config.json");
    for (key, value) in settings.as_object().unwrap() {
        match key.as_str() {
            "name_or_path" => assert_eq!(written.get(key), None),
            "chat_template" => {
                let sorted = |list: &Value| {
                    let mut list = list.as_array().unwrap().clone();
                    list.sort_by_key(|t| t["name"].to_string());
                    list
                };
                assert_eq!(sorted(&written[key]), sorted(value));
            }
            _ => assert_eq!(&written[key], value, "{key}"),
        }
    }
    assert_eq!(
        written.as_object().unwrap().len(),
        settings.as_object().unwrap().len() - 1
    );

    // a token that is not there is left out of the map; code is not copied, so its class is not
    // named
    std::fs::write(
        base("special_tokens_map.json"),
        "{\"eos_token\": \"</s>\", \"mask_token\": \"<mask>\", \"mine\": 1}",
    )
    .unwrap();
    let mut settings = settings;
    settings["auto_map"] = json!({"AutoTokenizer": ["code.T", null]});
    settings["chat_template"] = "{{ bos_token }}{{ messages[0].content }}".into();
    std::fs::write(base("tokenizer_config.json"), settings.to_string()).unwrap();
    let out = merged("again");
    let map = json!({"eos_token": "</s>", "mine": 1});
    assert_eq!(json(&out, "special_tokens_map.json"), map);
    let written = json(&out, "tokenizer_config.json");
    assert_eq!(written.get("auto_map"), None);
    assert_eq!(written["tokenizer_class"], "PreTrainedTokenizerFast");
    assert_eq!(written["mine"], settings["mine"]);
    assert_eq!(written["chat_template"], settings["chat_template"]);
}
