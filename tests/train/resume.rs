//! Resuming a fit: the same bytes as an uninterrupted run, and what is refused.

use super::{Item, Regression, config, items, train_in};
use crate::common::resume_run;
use anyhow::Result;
use candle_core::{Tensor, Var};
use run::Run;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use testkit::assert_close_slices;
use train::{Evaluation, FitConfig, Objective, fit};

#[test]
fn a_resumed_run_ends_with_the_same_bytes() {
    let (data, config) = (items(30, 1), config());
    let whole = tempfile::tempdir().unwrap();
    let whole = whole.path().join("run");
    train_in(&whole, &mut Regression::new(), &data, &config).unwrap();

    // the second dies in step 8, after the checkpoint of step 6
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("run");
    let died = {
        let mut run = Run::create(&dir, "test", &json!({ "train": config })).unwrap();
        let mut dying = Dying(Regression::new(), BTreeSet::new());
        fit(&mut dying, &data, &config, &mut run, false).unwrap_err()
    };
    let (died, at) = (died.to_string(), "checkpoints/step-000006");
    let expected = "step 8: power cut; the last good checkpoint is ";
    assert!(died.starts_with(expected) && died.ends_with(at), "{died}");
    assert!(dir.join("checkpoints/step-000006").is_dir());
    assert!(!dir.join("checkpoints/step-000008").exists());

    let mut run = resume_run(&dir, "test", &json!({ "train": config })).unwrap();
    let summary = fit(&mut Regression::new(), &data, &config, &mut run, true).unwrap();
    assert_eq!(summary.steps, 16);
    for file in [
        "checkpoints/step-000016/params.safetensors",
        "checkpoints/step-000016/optimizer.safetensors",
        "adapter/params.safetensors",
        "samples/step-000015.md",
    ] {
        let read = |dir: &Path| std::fs::read(dir.join(file)).unwrap();
        assert!(read(&dir) == read(&whole), "{file} differs");
    }
    let metrics = |dir: &Path| -> Vec<(u64, BTreeMap<String, f64>)> {
        let rows = run::read_metrics(dir).unwrap();
        let strip = |mut r: run::MetricsRow| {
            r.metrics.retain(|name, _| !run::is_timing(name));
            (r.step, r.metrics)
        };
        rows.into_iter().map(strip).collect()
    };
    assert_eq!(metrics(&dir), metrics(&whole));
}

/// A checkpoint of before the seconds by phase, in the middle of a logging window.
#[test]
fn steps_of_a_checkpoint_without_seconds_do_not_count_in_tokens_per_sec() {
    let data = vec![items(3, 1).pop().unwrap(); 32]; // 3 tokens each, 12 a step
    let config = FitConfig {
        log_every: 8,
        ..config()
    };
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("run");
    let mut run = Run::create(&dir, "test", &json!({ "train": config })).unwrap();
    fit(
        &mut Dying(Regression::new(), BTreeSet::new()),
        &data,
        &config,
        &mut run,
        false,
    )
    .unwrap_err();
    drop(run);
    let checkpoint = dir.join("checkpoints/step-000006");
    std::fs::remove_file(checkpoint.join("SHA256SUMS")).unwrap();
    let file = checkpoint.join("state.json");
    let mut state: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    state.as_object_mut().unwrap().remove("format").unwrap();
    let window = state["state"]["window"].as_object_mut().unwrap();
    assert_eq!(window.remove("pace").unwrap()["tokens"], 72);
    window.insert("tokens".into(), 72.0.into());
    window.insert("secs".into(), 0.5.into());
    std::fs::write(&file, state.to_string()).unwrap();

    let mut run = resume_run(&dir, "test", &json!({ "train": config })).unwrap();
    fit(&mut Regression::new(), &data, &config, &mut run, true).unwrap();
    let rows = run::read_metrics(&dir).unwrap();
    let row = rows
        .iter()
        .find(|r| r.step == 8 && r.metrics.contains_key("time/step"));
    let row = &row.unwrap().metrics;
    let tokens = row["train/tokens_per_sec"] * 2.0 * row["time/step"];
    assert_close_slices("tokens of steps 7 and 8", &[tokens], &[24.0], 1e-9);
    assert_eq!(row["train/rows"], 1.0, "over all 8 steps, as the loss is");
}

/// Fails in its 8th step.
struct Dying(Regression, BTreeSet<u64>);

impl Objective for Dying {
    type Item = Item;
    fn tokens(&self, item: &Item) -> usize {
        self.0.tokens(item)
    }
    fn count(&self, items: &[&Item]) -> usize {
        self.0.count(items)
    }
    fn loss_sum(&mut self, items: &[&Item], draw: u64) -> Result<(Tensor, BTreeMap<String, f64>)> {
        // Draw 0 is the check before a checkpoint, which trains nothing.
        if draw > 0 {
            anyhow::ensure!(self.1.insert(draw), "a draw came twice");
        }
        let step = (draw ^ run::stream_key(config().seed, "dropout")) >> 16;
        anyhow::ensure!(draw == 0 || step < 8, "power cut");
        self.0.loss_sum(items, draw)
    }
    fn evaluate(&mut self) -> Result<Evaluation> {
        self.0.evaluate()
    }
    fn params(&self) -> Vec<(String, Var)> {
        self.0.params()
    }
    fn save_result(&self, run: &Run) -> Result<()> {
        self.0.save_result(run)
    }
    fn save_params(&self, dir: &Path) -> Result<()> {
        self.0.save_params(dir)
    }
    fn load_params(&mut self, dir: &Path) -> Result<()> {
        self.0.load_params(dir)
    }
    fn sample(&mut self, step: u64) -> Result<Option<String>> {
        self.0.sample(step)
    }
}

#[test]
fn resuming_with_other_data_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, config) = (dir.path().join("run"), config());
    train_in(&dir, &mut Regression::new(), &items(30, 1), &config).unwrap();
    let mut run = resume_run(&dir, "test", &json!({ "train": config })).unwrap();
    let mut objective = Regression::new();
    let error = fit(&mut objective, &items(29, 1), &config, &mut run, true).unwrap_err();
    assert!(error.to_string().contains("30 training items"), "{error}");
}
