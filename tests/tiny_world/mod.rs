//! The tiny world: oracle, shipped data, tokenizer and base model.

mod base;
mod files;
mod oracle;
mod recipes;

use serde_json::Value;
use std::path::PathBuf;

pub fn tiny() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../data/tiny")
}

pub fn text(name: &str) -> String {
    std::fs::read_to_string(tiny().join(name)).unwrap()
}

pub fn rows(name: &str) -> Vec<Value> {
    serde_json::from_str(&text(name)).unwrap()
}

pub fn field<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name].as_str().unwrap()
}
