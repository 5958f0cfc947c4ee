//! Hugging Face directories with something wrong.

use super::{CPU, copy, edit_json, edit_weights, load, says, tiny};
use candle_core::{DType, Tensor};
use models::{Fetch, Lora, ModelSource, WeightStorage};
use serde_json::json;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use testkit::golden;

#[test]
fn bad_weights_are_refused() {
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
            &["model.safetensors", "corrupt or truncated"],
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

/// transformers applies an adapter that lies beside a model.
#[test]
fn an_adapter_in_place_of_a_model_or_beside_it_is_refused() {
    let dir = copy("tied");
    fs::write(dir.path().join("adapter_config.json"), "{}").unwrap();
    says(
        load(dir.path()),
        &[
            "beside the model",
            "adapter_config.json",
            "model.base",
            "merge it",
        ],
    );
    assert!(!models::is_adapter(dir.path()).unwrap());
    fs::remove_file(dir.path().join("config.json")).unwrap();
    assert!(models::is_adapter(dir.path()).unwrap());
    let unnamed = "its base (which it does not name)";
    says(load(dir.path()), &["a PEFT adapter, not a model", unnamed]);
    says(
        load(&golden("tiny-llama/adapter")),
        &[
            "a PEFT adapter, not a model",
            "its base (tiny-llama/tied)",
            "merge_and_unload",
        ],
    );
}

/// What the error says of a file, and what makes it so.
type Spoilt = (&'static str, fn(&Path));

const SPOILT: [Spoilt; 3] = [
    ("is not a regular file", |file| {
        fs::create_dir(file).unwrap()
    }),
    ("is a link to a file that does not exist", |file| {
        std::os::unix::fs::symlink("nowhere", file).unwrap();
    }),
    ("is not a regular file", |file| {
        let made = std::process::Command::new("mkfifo").arg(file).status();
        assert!(made.unwrap().success());
    }),
];

/// Each file that a model's or an adapter's directory may hold, as something that cannot be read:
/// the error names it and never calls it missing.
#[test]
fn a_file_that_is_there_and_cannot_be_read_is_not_called_missing() {
    const INDEX: &str = "model.safetensors.index.json";
    let names = [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "generation_config.json",
        "chat_template.jinja",
        "adapter_config.json",
        "model.safetensors",
        INDEX,
        "a.safetensors",
    ];
    for (what, spoil) in SPOILT {
        for name in names {
            let dir = copy("tied");
            let whole = dir.path().join("model.safetensors");
            if name == INDEX || name == "a.safetensors" {
                fs::remove_file(&whole).unwrap();
                let index = json!({"weight_map": {"model.norm.weight": "a.safetensors"}});
                fs::write(dir.path().join(INDEX), index.to_string()).unwrap();
            }
            let file = dir.path().join(name);
            let _ = fs::remove_file(&file);
            spoil(&file);
            says(load(dir.path()), &[&format!("/{name}: {what}")]);
            // a plan, which needs no weights, does not take them for absent
            let source = ModelSource::Dir(dir.path().to_path_buf());
            let plan = models::model_meta(&source, Fetch::Shape);
            let plan = plan.and_then(|meta| meta.weights(WeightStorage::Exact));
            says(plan, &[&format!("/{name}: {what}")]);
        }
        let model = tiny("tied").model;
        for name in ["adapter_config.json", "adapter_model.safetensors"] {
            let dir = copy("adapter");
            let file = dir.path().join(name);
            fs::remove_file(&file).unwrap();
            spoil(&file);
            let expected = format!("/{name}: {what}");
            says(Lora::load(dir.path(), &model), &[&expected]);
            if name == "adapter_config.json" {
                says(load(dir.path()), &[&expected]);
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("head.safetensors");
        spoil(&file);
        let head = models::ScalarHead::load(&file, 8, CPU);
        says(head, &[&format!("/head.safetensors: {what}")]);
        let file = dir.path().join("m.gguf");
        spoil(&file);
        if !file.is_dir() {
            let source = ModelSource::parse(file.to_str().unwrap());
            says(source, &[&format!("/m.gguf: {what}")]);
        }
    }
    // looked for where no file has a template
    let dir = copy("tied");
    edit_json(&dir.path().join("tokenizer_config.json"), |config| {
        config["chat_template"] = json!(null);
    });
    let _ = fs::remove_file(dir.path().join("chat_template.jinja"));
    fs::write(dir.path().join("additional_chat_templates"), "").unwrap();
    says(
        load(dir.path()),
        &["/additional_chat_templates: Not a directory"],
    );
}

/// The index alone is enough for a plan, unless it is damaged.
#[test]
fn a_damaged_index_is_no_missing_one() {
    let dir = copy("tied");
    fs::remove_file(dir.path().join("model.safetensors")).unwrap();
    let plan = || {
        let source = ModelSource::Dir(dir.path().to_path_buf());
        let meta = models::model_meta(&source, Fetch::Shape).unwrap();
        meta.weights(WeightStorage::Exact)
    };
    assert!(!plan().unwrap().present);
    let index = dir.path().join("model.safetensors.index.json");
    let names = json!({"weight_map": {"model.norm.weight": "a.safetensors"}}).to_string();
    fs::write(&index, &names).unwrap();
    assert!(!plan().unwrap().present);
    for (text, what) in [
        (&names[..20], "is not JSON"),
        ("{\"a\": 1, \"a\": 2}", "has the key \"a\" twice"),
        ("{}", "has no weight_map"),
    ] {
        fs::write(&index, text).unwrap();
        says(plan(), &["index.json", what]);
    }
}

#[test]
fn a_damaged_adapter_config_is_named_in_place_of_a_model_too() {
    let dir = copy("adapter");
    let file = dir.path().join("adapter_config.json");
    for (text, what) in [
        (&b"{\"r\": 2, \"r\": 4}"[..], "has the key \"r\" twice"),
        (b"{", "is not JSON"),
        (b"\xff", "is not UTF-8"),
        (
            b"{\"r\": \"\\ud800 \"}",
            "has an unpaired surrogate at line 1 column ",
        ),
    ] {
        fs::write(&file, text).unwrap();
        says(load(dir.path()), &["/adapter_config.json: ", what]);
    }
}

#[test]
fn a_key_that_is_there_twice_is_refused() {
    let twice = "{\"k\": 0, \"k\": 0";
    for name in [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "model.safetensors.index.json",
    ] {
        let dir = copy("tied");
        let file = dir.path().join(name);
        if name.ends_with("index.json") {
            fs::remove_file(dir.path().join("model.safetensors")).unwrap();
        }
        let text = fs::read_to_string(&file).unwrap_or("{}".into());
        let (_, rest) = text.split_once('{').unwrap();
        let comma = if rest.trim() == "}" { "" } else { ", " };
        fs::write(&file, format!("{twice}{comma}{rest}")).unwrap();
        let expected = "has the key \"k\" twice at line 1 column 12; remove one of them";
        says(load(dir.path()), &[name, expected]);
    }
    // the header of the weights
    let dir = copy("tied");
    let file = dir.path().join("model.safetensors");
    let bytes = fs::read(&file).unwrap();
    let n_header = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    let more = b"{\"__metadata__\":{\"k\":\"a\",\"k\":\"b\"},";
    let mut copy = (n_header + more.len() as u64 - 1).to_le_bytes().to_vec();
    copy.extend_from_slice(more);
    copy.extend_from_slice(&bytes[9..]);
    fs::write(&file, copy).unwrap();
    says(
        load(dir.path()),
        &["model.safetensors", "has the key \"k\" twice"],
    );
}

#[test]
fn bad_tokenizers_are_refused() {
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
    says(load(dir.path()), &["tokenizer.json", "no such file"]);
    fs::write(dir.path().join("tokenizer.model"), "").unwrap();
    says(
        load(dir.path()),
        &["tokenizer.model is not read", "AutoTokenizer"],
    );
    let dir = copy("tied");
    fs::write(dir.path().join("tokenizer_config.json"), "{").unwrap();
    says(load(dir.path()), &["tokenizer_config.json", "not JSON"]);
}
