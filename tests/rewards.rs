//! The reward artefact: saving, loading, and what is refused.

use crate::common::tiny_config;
use candle_core::{Device, Tensor};
use data::{Ends, Template};
use models::{CausalLm, Lora, LoraConfig, ScalarHead};
use ops::Ragged;
use rand::Rng;
use rewards::RewardModel;
use serde_json::json;
use std::fs;
use std::path::Path;
use testkit::assert_close_slices;
use tokenizers::Tokenizer;

pub fn model(seed: u64) -> CausalLm {
    let config = tiny_config(json!({ "tie_word_embeddings": false }));
    CausalLm::init(&config, seed, &Device::Cpu).unwrap()
}

fn tokenizer() -> Tokenizer {
    let json = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "pre_tokenizer": { "type": "Whitespace" }, "post_processor": null,
        "decoder": null,
        "model": { "type": "WordLevel", "vocab": { "a": 0, "b": 1, "?": 2 }, "unk_token": "?" }
    });
    Tokenizer::from_bytes(json.to_string()).unwrap()
}

fn ends() -> Ends {
    Ends {
        bos: Some(1),
        add_bos: true,
        eos: 2,
        stop: vec![2, 5],
    }
}

/// Rows of 1 to 40 ids.
pub fn rows(n: usize) -> Vec<Vec<u32>> {
    let mut rng = run::stream(2, "rows", 0, 0);
    let mut row = |_| {
        let len = rng.random_range(1..=40);
        (0..len).map(|_| rng.random_range(0..61)).collect()
    };
    (0..n).map(&mut row).collect()
}

fn slices(rows: &[Vec<u32>]) -> Vec<models::Sequence<'_>> {
    rows.iter().map(|ids| (ids.as_slice(), 0)).collect()
}

fn f64s(x: &[f32]) -> Vec<f64> {
    x.iter().map(|v| f64::from(*v)).collect()
}

pub fn trained(model: &CausalLm) -> RewardModel {
    let config = LoraConfig {
        r: 3,
        ..LoraConfig::default()
    };
    let lora = Lora::init(&config, model, 5).unwrap().trainable().unwrap();
    let head = ScalarHead::init(24, 0.3, 6, &Device::Cpu).unwrap();
    let head = head.trainable().unwrap();
    let mut rng = run::stream(9, "adapter", 0, 0);
    for (name, var) in lora.vars().into_iter().chain(head.vars()) {
        if name != "weight" {
            let values: Vec<f32> = (0..var.elem_count()).map(|_| rng.random()).collect();
            let values = Tensor::from_vec(values, var.shape(), &Device::Cpu).unwrap();
            var.set(&values).unwrap();
        }
    }
    RewardModel::new(model, lora, head, Template::Alpaca, ends(), "models/tiny")
        .unwrap()
        .calibrated(model, &rows(30), rows(8))
        .unwrap()
}

#[test]
fn a_loaded_artefact_equals_the_saved_one() {
    let model = model(1);
    let made = trained(&model);
    let dir = tempfile::tempdir().unwrap();
    made.save(dir.path(), &tokenizer()).unwrap();
    let loaded = RewardModel::load(dir.path(), &model).unwrap();

    assert_eq!(loaded.template, Template::Alpaca);
    assert_eq!(loaded.ends, ends());
    assert_eq!(loaded.base, "models/tiny");
    assert_close_slices(
        "mean, std",
        &[loaded.mean, loaded.std],
        &[made.mean, made.std],
        1e-12,
    );
    let fresh = rows(50);
    let score = |m: &RewardModel| m.score(&model, &slices(&fresh[30..])).unwrap();
    assert_eq!(score(&loaded), score(&made));
    assert!(Tokenizer::from_file(dir.path().join("tokenizer.json")).is_ok());

    let scores = made.score(&model, &slices(&rows(30))).unwrap();
    let normal: Vec<f64> = f64s(&scores)
        .iter()
        .map(|s| f64::from(loaded.normalised(*s as f32)))
        .collect();
    let mean = normal.iter().sum::<f64>() / 30.0;
    let variance = normal.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 30.0;
    assert_close_slices("normalised samples", &[mean, variance], &[0.0, 1.0], 1e-4);
    assert!(made.std > 0.01, "the samples differ");
}

#[test]
fn a_score_is_read_at_the_last_token_and_does_not_depend_on_neighbours() {
    let model = model(1);
    let reward = trained(&model);
    let all = rows(300); // more tokens than one batch holds
    let together = reward.score(&model, &slices(&all)).unwrap();
    assert_eq!(together.len(), 300);
    let head = reward.value_head().unwrap();
    for (row, score) in all.iter().zip(&together).step_by(7) {
        let alone = reward.score(&model, &[(row, 0)]).unwrap();
        assert_close_slices("alone", &f64s(&alone), &[f64::from(*score)], 1e-5);
        let layout = Ragged::from_lens(&[row.len()]);
        let hidden = model.hidden(row, &layout, Some(&reward.adapter), None);
        let last = hidden.unwrap().narrow(0, row.len() - 1, 1).unwrap();
        let value = testkit::values(&head.apply(&last).unwrap());
        let wanted = f64::from(reward.normalised(*score));
        assert_close_slices("value head", &value, &[wanted], 1e-4);
    }
    let reversed: Vec<_> = slices(&all).into_iter().rev().collect();
    let mut reversed = f64s(&reward.score(&model, &reversed).unwrap());
    reversed.reverse();
    assert_close_slices("reversed", &reversed, &f64s(&together), 1e-5);

    let error = reward
        .score(&model, &[(&[1], 0), (&[], 0)])
        .unwrap_err()
        .to_string();
    assert!(error.contains("row 2 has 0 tokens"), "{error}");
}

#[test]
fn without_samples_scores_are_not_normalised() {
    let model = model(1);
    let reward = trained(&model).calibrated(&model, &[], vec![]).unwrap();
    assert_eq!((reward.mean, reward.std), (0.0, 1.0));
    let same = vec![vec![4, 5, 6]; 3];
    let reward = reward.calibrated(&model, &same, vec![]).unwrap();
    assert_eq!(reward.std, 1.0, "no variance to divide by");
}

/// Saves a good artefact, damages it, and expects one line that holds `message`.
#[track_caller]
fn refused(damage: impl Fn(&Path), message: &str) {
    let good = model(1);
    refused_on(&good, damage, message);
}

#[track_caller]
fn refused_on(base: &CausalLm, damage: impl Fn(&Path), message: &str) {
    let dir = tempfile::tempdir().unwrap();
    let made = trained(&model(1));
    made.save(dir.path(), &tokenizer()).unwrap();
    damage(dir.path());
    let error = match RewardModel::load(dir.path(), base) {
        Ok(_) => panic!("loaded, though {message}"),
        Err(error) => error.to_string(),
    };
    assert!(error.contains(message), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}

fn edit(dir: &Path, change: impl Fn(&mut serde_json::Value)) {
    let file = dir.join("reward.json");
    let mut manifest = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    change(&mut manifest);
    fs::write(file, manifest.to_string()).unwrap();
}

#[test]
fn an_artefact_with_a_missing_file_is_refused() {
    for file in [
        "reward.json",
        "head.safetensors",
        "adapter_config.json",
        "adapter_model.safetensors",
        "tokenizer.json",
    ] {
        let damage = |dir: &Path| fs::remove_file(dir.join(file)).unwrap();
        refused(damage, &format!("{file} is missing"));
    }
    refused(|dir| fs::remove_dir_all(dir).unwrap(), "does not exist");
}

#[test]
fn another_base_is_refused() {
    refused_on(
        &model(2),
        |_| {},
        "was trained on the base models/tiny (fingerprint ",
    );
    // the same head, but an adapter merged into the layers
    let base = model(1);
    let merged = base.merged(&trained(&base).adapter).unwrap();
    refused_on(&merged, |_| {}, "this base is another one");
}

#[test]
fn golden_scores_detect_a_changed_part() {
    refused(
        |dir| edit(dir, |m| m["golden"][2]["score"] = json!(1.0e3)),
        "golden row 3 scores ",
    );
    let other_head = |dir: &Path| {
        let head = ScalarHead::init(24, 0.3, 7, &Device::Cpu).unwrap();
        head.save(&dir.join("head.safetensors")).unwrap();
    };
    refused(other_head, "golden row 1 scores ");
    let broken_head = |dir: &Path| {
        let head = ScalarHead::init(24, f64::NAN, 7, &Device::Cpu).unwrap();
        head.save(&dir.join("head.safetensors")).unwrap();
    };
    refused(broken_head, "tensor weight holds NaN (number 0)");
    let other_adapter = |dir: &Path| {
        let base = model(1);
        let config = LoraConfig {
            r: 3,
            ..LoraConfig::default()
        };
        let lora = Lora::init(&config, &base, 5).unwrap();
        lora.save(dir, "models/tiny").unwrap();
    };
    refused(other_adapter, "golden row 1 scores ");
}

#[test]
fn an_invalid_manifest_is_refused() {
    refused(
        |dir| edit(dir, |m| m["version"] = json!(2)),
        "has version 2, this program reads version 1",
    );
    refused(
        |dir| edit(dir, |m| m["std"] = json!(0.0)),
        "std = 0 cannot normalise",
    );
    refused(
        |dir| edit(dir, |m| m["extra"] = json!(1)),
        "unknown field `extra`",
    );
    let cut = |dir: &Path| {
        let text = fs::read(dir.join("reward.json")).unwrap();
        fs::write(dir.join("reward.json"), &text[..text.len() / 2]).unwrap();
    };
    refused(cut, "is not a reward manifest");
    let cut = |dir: &Path| {
        let bytes = fs::read(dir.join("head.safetensors")).unwrap();
        fs::write(dir.join("head.safetensors"), &bytes[..bytes.len() - 5]).unwrap();
    };
    refused(cut, "head.safetensors");
}
