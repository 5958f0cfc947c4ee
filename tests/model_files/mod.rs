//! Model and adapter files, good and bad: every bad one is one line that names the file and what is
//! wrong with it.

mod adapters;
mod bad_directories;
mod bombs;
mod chat_templates;
mod config_json;
mod contradictions;
mod directories;
mod gguf;
mod lora_targets;
mod shards;

use candle_core::{Device, Tensor};
use models::{CausalLm, Loaded, ModelSource};
use ops::Ragged;
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use testkit::{assert_close, golden};

const CPU: &Device = &Device::Cpu;

fn load(dir: &Path) -> models::Result<Loaded> {
    models::load(&ModelSource::Dir(dir.to_path_buf()), CPU)
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
