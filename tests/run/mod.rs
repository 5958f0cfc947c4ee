//! The `run` crate's run directories.

mod checkpoints;
mod damage;
mod directory;
mod logs;
mod progress;
mod results;
mod resume;
mod secrets;
mod stdout;
mod streams;

use run::{RetentionPolicy, Run};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

pub fn settings(lr: f64, save_every: u64) -> Value {
    json!({ "train": { "lr": lr, "save_every": save_every, "seed": 11 }, "targets": ["q", "v"] })
}

pub fn metrics(loss: f64) -> BTreeMap<String, f64> {
    BTreeMap::from([
        ("loss/policy".to_string(), loss),
        ("objective/kl".to_string(), 0.25),
    ])
}

pub fn json_of(path: PathBuf) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Names in a directory, sorted, without the lock.
pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.retain(|name| name != ".lock");
    names.sort();
    names
}

pub fn save(run: &mut Run, step: u64, keep: usize) {
    let tensors = |dir: &Path| {
        Ok(fs::write(
            dir.join("adapter.safetensors"),
            step.to_string(),
        )?)
    };
    run.checkpoint(
        step,
        RetentionPolicy { n: keep, mb: None },
        &json!({ "cursor": step * 2 }),
        tensors,
    )
    .unwrap();
}

/// A run with checkpoints 10 and 20, closed.
pub fn with_two_checkpoints() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("r");
    let mut run = Run::create(&dir, "sft", &settings(0.1, 1)).unwrap();
    save(&mut run, 10, 2);
    save(&mut run, 20, 2);
    (root, dir)
}
