//! The optimiser and the fit loop on a LoRA model: ten steps against PyTorch, and what changes in a
//! model.

use crate::common::{all_targets, tiny_config};
use anyhow::Result;
use candle_core::{Device, Tensor, Var};
use models::{CausalLm, Lora, LoraConfig};
use ops::Ragged;
use run::Run;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use testkit::{assert_close, assert_close_slices, golden_tensors};
use train::{AdamW, Evaluation, FitConfig, Gradients, Objective, OptimizerConfig, fit};

#[test]
fn loss_gradients_and_ten_steps_of_a_lora_model_equal_pytorch() {
    let golden = golden_tensors("tiny-llama/train.safetensors");
    let source = models::ModelSource::Dir(testkit::golden("tiny-llama/tied"));
    let model = models::load(&source, &Device::Cpu).unwrap().model;
    let lora = Lora::load(&testkit::golden("tiny-llama/adapter"), &model);
    let lora = lora.unwrap().trainable().unwrap();

    let whole = |name: &str| {
        testkit::values(&golden[name])
            .into_iter()
            .map(|v| v as usize)
    };
    let ids: Vec<u32> = whole("ids").map(|id| id as u32).collect();
    let layout = Ragged::from_lens(&whole("lens").collect::<Vec<_>>());
    let spans = layout.ranges().zip(whole("prompt_lens"));
    let labels: Vec<usize> = spans.flat_map(|(r, n)| r.start + n..r.end).collect();
    let targets: Vec<u32> = labels.iter().map(|at| ids[*at]).collect();
    let before: Vec<u32> = labels.iter().map(|at| *at as u32 - 1).collect();
    let before = Tensor::new(before, &Device::Cpu).unwrap();
    let loss = || -> Result<Tensor> {
        let hidden = model.hidden(&ids, &layout, Some(&lora), None)?;
        let hidden = hidden.index_select(&before, 0)?;
        let ones = vec![1.0; targets.len()];
        let scores = ops::token_scores(&hidden, model.head(), &targets, &ones)?;
        Ok(scores.logp.mean_all()?.neg()?)
    };

    // PyTorch decayed every parameter; no LoRA name is a norm or a bias, so this optimiser does too
    let config = OptimizerConfig {
        weight_decay: 0.1,
        ..OptimizerConfig::default()
    };
    let mut optimizer = AdamW::new(lora.vars(), &config).unwrap();
    let losses = testkit::values(&golden["loss"]);
    for step in 1..=10 {
        let loss = loss().unwrap();
        let found = f64::from(loss.to_scalar::<f32>().unwrap());
        assert_close_slices("loss", &[found], &[losses[step - 1]], 1e-5);
        let mut grads = Gradients::zeros(optimizer.params());
        grads.add(&loss.backward().unwrap()).unwrap();
        if step == 1 {
            for (name, _) in lora.vars() {
                let found = grads.get(&name).unwrap();
                assert_close(&name, found, &golden[&format!("grad.{name}")], 1e-5);
            }
        }
        optimizer.step(&grads, 1e-2, 1.0).unwrap();
        for (name, var) in lora.vars() {
            let wanted = &golden[&format!("step{step}.{name}")];
            assert_close(&format!("{name} after step {step}"), &var, wanted, 1e-4);
        }
    }
}

/// Next-token loss of an adapter on a small random model; an item is a sequence.
struct LoraObjective {
    model: CausalLm,
    lora: Lora,
    dropout: bool,
}

impl LoraObjective {
    fn new(dropout: f64) -> Self {
        let model = CausalLm::init(&tiny_config(json!({})), 1, &Device::Cpu).unwrap();
        let config = LoraConfig {
            r: 2,
            dropout,
            targets: all_targets(),
            ..LoraConfig::default()
        };
        let lora = Lora::init(&config, &model, 5).unwrap().trainable().unwrap();
        Self {
            model,
            lora,
            dropout: dropout > 0.0,
        }
    }

    fn nll_sum(&self, items: &[&Vec<u32>], lora: &Lora, draw: Option<u64>) -> Result<Tensor> {
        let lens: Vec<usize> = items.iter().map(|i| i.len()).collect();
        let layout = Ragged::from_lens(&lens);
        let ids: Vec<u32> = items.iter().flat_map(|i| i.iter().copied()).collect();
        let hidden = self.model.hidden(&ids, &layout, Some(lora), draw)?;
        let rows: Vec<u32> = layout
            .ranges()
            .flat_map(|r| r.start as u32..r.end as u32 - 1)
            .collect();
        let targets: Vec<u32> = rows.iter().map(|r| ids[*r as usize + 1]).collect();
        let before = hidden.index_select(&Tensor::new(rows, &Device::Cpu)?, 0)?;
        let ones = vec![1.0; targets.len()];
        let scores = ops::token_scores(&before, self.model.head(), &targets, &ones)?;
        Ok(scores.logp.sum_all()?.neg()?)
    }
}

impl Objective for LoraObjective {
    type Item = Vec<u32>;
    fn tokens(&self, item: &Vec<u32>) -> usize {
        item.len()
    }
    fn count(&self, items: &[&Vec<u32>]) -> usize {
        items.iter().map(|i| i.len() - 1).sum()
    }
    fn loss_sum(
        &mut self,
        items: &[&Vec<u32>],
        draw: u64,
    ) -> Result<(Tensor, BTreeMap<String, f64>)> {
        let draw = self.dropout.then_some(draw);
        Ok((self.nll_sum(items, &self.lora, draw)?, BTreeMap::new()))
    }
    fn evaluate(&mut self) -> Result<Evaluation> {
        let item = (1..30).collect();
        let loss = self.nll_sum(&[&item], &self.lora.frozen(), None)?;
        Ok(Evaluation {
            loss: f64::from(loss.to_scalar::<f32>()?) / 28.0,
            metrics: BTreeMap::new(),
        })
    }
    fn params(&self) -> Vec<(String, Var)> {
        self.lora.vars()
    }
    fn save_result(&self, run: &Run) -> Result<()> {
        run.replace_dir("adapter", |dir| Ok(self.lora.save(dir, "tiny")?))
    }
    fn save_params(&self, dir: &Path) -> Result<()> {
        train::save_params(&self.params(), &dir.join("params.safetensors"))
    }
    fn load_params(&mut self, dir: &Path) -> Result<()> {
        train::load_params(&self.params(), &dir.join("params.safetensors"))
    }
    fn sample(&mut self, _: u64) -> Result<Option<String>> {
        Ok(None)
    }
}

/// Sequences of 2 to 9 ids that count upwards.
fn sequences(n: u32) -> Vec<Vec<u32>> {
    (0..n)
        .map(|i| (i % 50..i % 50 + 2 + i % 8).collect())
        .collect()
}

fn fit_lora(micro_batch_tokens: usize, dropout: f64) -> LoraObjective {
    let dir = tempfile::tempdir().unwrap();
    let config = FitConfig {
        epochs: 1.0,
        batch_size: 8,
        micro_batch_tokens,
        optimizer: OptimizerConfig {
            lr: 1e-2,
            ..OptimizerConfig::default()
        },
        ..FitConfig::default()
    };
    let mut objective = LoraObjective::new(dropout);
    let settings = json!({ "train": config });
    let mut run = Run::create(&dir.path().join("run"), "test", &settings).unwrap();
    let data = sequences(40);
    let summary = fit(&mut objective, &data, &config, &mut run, false).unwrap();
    let best = summary.best.unwrap();
    assert!(best.loss < summary.start_loss, "{summary:?}");
    objective
}

#[test]
fn every_adapter_tensor_is_trained_and_the_base_is_not() {
    let before = LoraObjective::new(0.1);
    let after = fit_lora(1000, 0.1);
    for ((name, was), (_, is)) in before.params().iter().zip(after.params()) {
        assert_ne!(testkit::values(was), testkit::values(&is), "{name}");
    }
    for ((name, was), (_, is)) in before.model.tensors().iter().zip(after.model.tensors()) {
        assert_eq!(testkit::values(was), testkit::values(&is), "{name}");
    }
    assert_eq!(after.params().len(), 2 * 7 * 2);
}

#[test]
fn micro_batches_of_a_model_change_nothing() {
    let (whole, cut) = (fit_lora(1000, 0.0), fit_lora(11, 0.0));
    for ((name, whole), (_, cut)) in whole.params().iter().zip(cut.params()) {
        // the first steps of AdamW divide rounding by gradients that are as small
        assert_close(name, &cut, whole, 5e-5);
    }
}
