//! Hugging Face directories with something wrong.

use super::{copy, edit_json, edit_weights, load, says};
use candle_core::{DType, Tensor};
use serde_json::json;
use std::collections::HashMap;
use std::fs;
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
        &["beside the model", "adapter_config.json", "merge it"],
    );
    fs::remove_file(dir.path().join("config.json")).unwrap();
    says(
        load(dir.path()),
        &["a PEFT adapter, not a model", "merge it"],
    );
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
