//! Files of tests/golden, each written by a program of scripts/golden.

use candle_core::{Device, Tensor};
use std::collections::HashMap;
use std::path::PathBuf;

/// The path of a golden file or directory.
pub fn golden(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden")).join(name)
}

/// The tensors of a golden safetensors file. Panics if it cannot be read.
#[track_caller]
pub fn golden_tensors(name: &str) -> HashMap<String, Tensor> {
    match candle_core::safetensors::load(golden(name), &Device::Cpu) {
        Ok(tensors) => tensors,
        Err(e) => panic!("golden file {name}: {e}"),
    }
}

/// The content of a golden JSON file. Panics if it cannot be read.
#[track_caller]
pub fn golden_json(name: &str) -> serde_json::Value {
    match std::fs::read(golden(name)).map(|bytes| serde_json::from_slice(&bytes)) {
        Ok(Ok(value)) => value,
        other => panic!("golden file {name}: {other:?}"),
    }
}
