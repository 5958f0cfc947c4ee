//! Which file gives a tensor.

use super::{CPU, assert_same_weights, copy, edit_json, edit_weights, load, says, tiny};
use candle_core::Tensor;
use models::{Fetch, ModelSource, model_meta};
use serde_json::json;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const INDEX: &str = "model.safetensors.index.json";
const NORM: &str = "model.norm.weight";

/// The model `name` in two shards: a has the layers, b the rest.
fn in_two_shards(name: &str) -> TempDir {
    let dir = copy(name);
    let file = dir.path().join("model.safetensors");
    let tensors = candle_core::safetensors::load(&file, CPU).unwrap();
    fs::remove_file(&file).unwrap();
    let mut map = serde_json::Map::new();
    let mut shards = [HashMap::new(), HashMap::new()];
    for (name, tensor) in tensors {
        let second = usize::from(!name.contains(".layers."));
        let file = ["a.safetensors", "b.safetensors"][second];
        map.insert(name.clone(), json!(file));
        shards[second].insert(name, tensor);
    }
    for (shard, name) in shards.iter().zip(["a.safetensors", "b.safetensors"]) {
        candle_core::safetensors::save(shard, dir.path().join(name)).unwrap();
    }
    let index = json!({ "weight_map": map });
    fs::write(dir.path().join(INDEX), index.to_string()).unwrap();
    dir
}

fn notes(dir: &Path) -> Vec<String> {
    let source = ModelSource::Dir(dir.to_path_buf());
    model_meta(&source, Fetch::Whole).unwrap().notes
}

/// Adds a tensor of zeros of this shape.
fn add(dir: &Path, file: &str, name: &str, shape: &[usize]) {
    let zeros = Tensor::zeros(shape, candle_core::DType::F32, CPU).unwrap();
    edit_weights(&dir.join(file), |tensors| {
        tensors.insert(name.to_string(), zeros);
    });
}

#[test]
fn a_tensor_is_read_from_the_shard_that_the_index_names() {
    let expected = tiny("tied").model;
    let width = expected.config.hidden_size;
    let dir = in_two_shards("tied");
    assert_eq!(notes(dir.path()), [""; 0]);
    // stale: another shard has it, and one that no index names
    add(dir.path(), "a.safetensors", NORM, &[width]);
    add(dir.path(), "b.safetensors", "old.weight", &[3]);
    let layer = "model.layers.0.input_layernorm.weight";
    add(dir.path(), "b.safetensors", layer, &[width]);
    assert_same_weights(&load(dir.path()).unwrap().model, &expected);
    let notes = notes(dir.path());
    let expected = [
        "a.safetensors holds a tensor that model.safetensors.index.json does not place in it \
         (first: model.norm.weight); not used",
        "b.safetensors holds 2 tensors that model.safetensors.index.json does not place in it \
         (first: model.layers.0.input_layernorm.weight); not used",
    ];
    assert_eq!(notes, expected);
}

/// A stale head beside tied embeddings is no other head.
#[test]
fn a_stale_head_is_not_used() {
    let dir = in_two_shards("tied");
    let config = tiny("tied").model.config;
    let shape = [config.vocab_size, config.hidden_size];
    add(dir.path(), "a.safetensors", "lm_head.weight", &shape);
    let source = ModelSource::Dir(dir.path().to_path_buf());
    let meta = model_meta(&source, Fetch::Whole).unwrap();
    assert!(meta.config.tie_word_embeddings, "{:?}", meta.notes);
    assert_same_weights(&load(dir.path()).unwrap().model, &tiny("tied").model);
}

#[test]
fn a_tensor_that_is_not_in_its_shard_is_missing() {
    let dir = in_two_shards("tied");
    edit_json(&dir.path().join(INDEX), |index| {
        index["weight_map"][NORM] = json!("a.safetensors");
    });
    says(
        load(dir.path()),
        &[
            "a.safetensors",
            "tensor model.norm.weight is missing, though",
            INDEX,
        ],
    );
    edit_json(&dir.path().join(INDEX), |index| {
        let map = index["weight_map"].as_object_mut().unwrap();
        map.remove(NORM);
    });
    says(load(dir.path()), &["tensor model.norm.weight is missing"]);
}

#[test]
fn an_index_beside_the_whole_file_is_not_used() {
    let dir = copy("tied");
    fs::write(dir.path().join(INDEX), "{}").unwrap();
    let note = "model.safetensors is used, and model.safetensors.index.json beside it is not, as in \
                transformers";
    assert_eq!(notes(dir.path()), [note]);
}

#[test]
fn a_missing_head_names_the_setting_that_ties_it() {
    let dir = copy("tied");
    edit_json(&dir.path().join("config.json"), |config| {
        config["tie_word_embeddings"] = json!(false);
    });
    says(
        load(dir.path()),
        &[
            "lm_head.weight is missing",
            "\"tie_word_embeddings\": true in config.json",
        ],
    );
}
