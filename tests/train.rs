//! The training crate: the optimiser against PyTorch, schedules against transformers, and the fit loop.

use crate::common::{all_targets, tiny_config};
use anyhow::Result;
use candle_core::{Device, Tensor, Var};
use models::{CausalLm, Lora, LoraConfig};
use ops::Ragged;
use run::Run;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use testkit::{assert_close, assert_close_slices, golden_json, golden_tensors};
use train::{
    AdamW, Evaluation, FitConfig, Gradients, Objective, OptimizerConfig, Schedule, Summary,
    clip_scale, fit,
};

#[test]
fn ten_adamw_steps_equal_pytorch() {
    let golden = golden_tensors("adamw.safetensors");
    let names = ["w", "input_layernorm.weight", "q_proj.bias"];
    let params: Vec<(String, Var)> = names
        .iter()
        .map(|n| {
            (
                n.to_string(),
                Var::from_tensor(&golden[&format!("{n}.start")]).unwrap(),
            )
        })
        .collect();
    let config = OptimizerConfig {
        lr: 3e-2,
        schedule: Schedule::Cosine,
        warmup_ratio: 0.2,
        weight_decay: 0.1,
        beta2: 0.95,
        ..OptimizerConfig::default()
    };
    let mut optimizer = AdamW::new(params.clone(), &config).unwrap();
    let norms = testkit::values(&golden["norms"]);
    for step in 0..10 {
        // the gradient of sum(p · g) is g; it comes in two halves, as from two micro-batches
        let mut grads = Gradients::zeros(&params);
        for _ in 0..2 {
            let parts = params
                .iter()
                .map(|(n, p)| (p.as_tensor() * &golden[&format!("{n}.grad.{step}")])?.sum_all());
            let loss = parts
                .reduce(|a, b| a? + b?)
                .unwrap()
                .and_then(|l| l * 0.5)
                .unwrap();
            grads.add(&loss.backward().unwrap()).unwrap();
        }
        let (norm, bad) = grads.norm().unwrap();
        assert_eq!(bad, None);
        assert_close_slices("norm", &[norm], &[norms[step]], 1e-6);
        let scale = clip_scale(norm, 1.0);
        optimizer
            .step(&grads, config.lr_at(step, 10), scale)
            .unwrap();
        for (n, p) in &params {
            let wanted = &golden[&format!("{n}.after.{step}")];
            assert_close(&format!("{n} after step {step}"), p, wanted, 1e-6);
        }
    }
}

#[test]
fn schedules_equal_transformers() {
    for case in golden_json("schedules.json").as_array().unwrap() {
        let schedule: Schedule = serde_json::from_value(case["schedule"].clone()).unwrap();
        let number = |key: &str| case[key].as_u64().unwrap() as usize;
        let (warmup, total) = (number("warmup"), number("total"));
        let found: Vec<f64> = (0..total)
            .map(|s| schedule.factor(s, warmup, total))
            .collect();
        let wanted: Vec<f64> = serde_json::from_value(case["factors"].clone()).unwrap();
        assert_close_slices(
            &format!("{schedule:?} {warmup}/{total}"),
            &found,
            &wanted,
            1e-12,
        );
    }
    assert_eq!(Schedule::Linear.factor(20, 2, 10), 0.0);
    assert_eq!(Schedule::Cosine.factor(20, 2, 10), 0.0);
}

#[test]
fn clipping_is_pytorchs() {
    assert_eq!(clip_scale(0.5, 1.0), 1.0);
    assert_close_slices("scale", &[clip_scale(4.0, 1.0)], &[0.25], 1e-6);
    assert_eq!(clip_scale(4.0, 0.0), 1.0, "0 is no limit");
}

#[test]
fn a_non_finite_gradient_is_named() {
    let device = Device::Cpu;
    let var = |x: &[f32]| Var::from_tensor(&Tensor::new(x, &device).unwrap()).unwrap();
    let params = vec![
        ("a".to_string(), var(&[1.0])),
        ("b".to_string(), var(&[0.0, 2.0])),
    ];
    let mut grads = Gradients::zeros(&params);
    assert_eq!(grads.missing().collect::<Vec<_>>(), ["a", "b"]);
    let loss = params[1].1.log().unwrap().sum_all().unwrap(); // d log(0) = inf
    grads.add(&loss.backward().unwrap()).unwrap();
    assert_eq!(grads.norm().unwrap().1.as_deref(), Some("b"));
    assert_eq!(grads.missing().collect::<Vec<_>>(), ["a"]);
}

#[test]
fn optimizer_state_is_refused_where_it_does_not_fit() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("optimizer.safetensors");
    let params = |name: &str, n: usize| {
        vec![(
            name.to_string(),
            Var::zeros(n, candle_core::DType::F32, &Device::Cpu).unwrap(),
        )]
    };
    let config = OptimizerConfig::default();
    AdamW::new(params("w", 3), &config)
        .unwrap()
        .save(&file)
        .unwrap();
    let load = |name: &str, n: usize| {
        let error = AdamW::new(params(name, n), &config)
            .unwrap()
            .load(&file)
            .unwrap_err();
        error.to_string()
    };
    assert!(load("v", 3).contains("tensor v.exp_avg is missing"));
    assert!(load("w", 4).contains("tensor w.exp_avg has shape [3], this run needs [4]"));
    std::fs::write(&file, b"not tensors").unwrap();
    assert!(load("w", 3).contains("cannot read"));
}

/// Linear regression: an item is rows of (x, y); a "token" is a row.
struct Regression {
    w: Var,
    bias: Var,
    eval: Vec<Item>,
    unreached: Option<Var>,
    saved_at: std::cell::RefCell<Vec<f64>>,
}

type Item = Vec<([f32; 3], f32)>;

impl Regression {
    fn new() -> Self {
        let var = |x: &[f32]| Var::from_tensor(&Tensor::new(x, &Device::Cpu).unwrap()).unwrap();
        Self {
            w: var(&[0.1, -0.2, 0.3]),
            bias: var(&[0.05]),
            eval: items(5, 99),
            unreached: None,
            saved_at: Default::default(),
        }
    }

    fn squared_error(&self, items: &[&Item]) -> Result<Tensor> {
        let rows: Vec<f32> = items
            .iter()
            .flat_map(|i| i.iter().flat_map(|r| r.0))
            .collect();
        let y: Vec<f32> = items.iter().flat_map(|i| i.iter().map(|r| r.1)).collect();
        let x = Tensor::from_vec(rows, (y.len(), 3), &Device::Cpu)?;
        let found = x.matmul(&self.w.unsqueeze(1)?)?.squeeze(1)?;
        let found = found.broadcast_add(&self.bias)?;
        Ok((found - Tensor::new(y, &Device::Cpu)?)?.sqr()?.sum_all()?)
    }

    fn numbers(&self) -> Vec<f32> {
        let mut all = self.w.to_vec1::<f32>().unwrap();
        all.extend(self.bias.to_vec1::<f32>().unwrap());
        all
    }
}

/// `n` items of 1 to 5 rows on the plane y = x·(1, -2, 0.5) + 0.7.
fn items(n: usize, seed: u64) -> Vec<Item> {
    use rand::Rng;
    let mut rng = run::stream(seed, "test items", 0, 0);
    let mut row = |_| {
        let x: [f32; 3] = rng.random();
        (x, x[0] - 2.0 * x[1] + 0.5 * x[2] + 0.7)
    };
    (0..n)
        .map(|i| (0..1 + i % 5).map(&mut row).collect())
        .collect()
}

impl Objective for Regression {
    type Item = Item;

    fn tokens(&self, item: &Item) -> usize {
        item.len()
    }

    fn count(&self, items: &[&Item]) -> usize {
        items.iter().map(|i| i.len()).sum()
    }

    fn loss_sum(&mut self, items: &[&Item], _: u64) -> Result<(Tensor, BTreeMap<String, f64>)> {
        let rows = self.count(items) as f64;
        let metrics = BTreeMap::from([("rows".to_string(), rows)]);
        Ok((self.squared_error(items)?, metrics))
    }

    fn evaluate(&mut self) -> Result<Evaluation> {
        let eval: Vec<&Item> = self.eval.iter().collect();
        let loss = self.squared_error(&eval)?.to_scalar::<f32>()?;
        let loss = f64::from(loss) / self.count(&eval) as f64;
        Ok(Evaluation {
            loss,
            metrics: BTreeMap::from([("rmse".to_string(), loss.sqrt())]),
        })
    }

    fn params(&self) -> Vec<(String, Var)> {
        let mut params = vec![
            ("w".to_string(), self.w.clone()),
            ("bias".to_string(), self.bias.clone()),
        ];
        if let Some(var) = &self.unreached {
            params.push(("unreached".to_string(), var.clone()));
        }
        params
    }

    fn save_result(&self, run: &Run) -> Result<()> {
        let loss = self.squared_error(&self.eval.iter().collect::<Vec<_>>())?;
        self.saved_at
            .borrow_mut()
            .push(f64::from(loss.to_scalar::<f32>()?));
        run.replace_dir("adapter", |dir| self.save_params(dir))
    }

    fn save_params(&self, dir: &Path) -> Result<()> {
        train::save_params(&self.params(), &dir.join("params.safetensors"))
    }

    fn load_params(&mut self, dir: &Path) -> Result<()> {
        train::load_params(&self.params(), &dir.join("params.safetensors"))
    }

    fn sample(&mut self, step: u64) -> Result<Option<String>> {
        Ok(Some(format!("at {step}: {:?}", self.numbers())))
    }
}

fn config() -> FitConfig {
    FitConfig {
        epochs: 2.0,
        batch_size: 4,
        micro_batch_tokens: 6,
        optimizer: OptimizerConfig {
            lr: 0.05,
            warmup_ratio: 0.1,
            ..OptimizerConfig::default()
        },
        log_every: 3,
        eval_every: 4,
        sample_every: 5,
        save_every: 2,
        ..FitConfig::default()
    }
}

fn train_in(
    dir: &Path,
    objective: &mut Regression,
    data: &[Item],
    config: &FitConfig,
) -> Result<Summary> {
    let mut run = Run::create(dir, "test", &json!({ "train": config }))?;
    fit(objective, data, config, &mut run, false)
}

#[test]
fn fit_learns_and_keeps_the_best() {
    let dir = tempfile::tempdir().unwrap();
    let (mut objective, data) = (Regression::new(), items(30, 1));
    let dir = dir.path().join("run");
    let summary = train_in(&dir, &mut objective, &data, &config()).unwrap();
    assert_eq!(summary.steps, 16, "30 items in batches of 4, twice");
    assert!(summary.finished);
    let best = summary.best.unwrap();
    assert!(best.loss < 0.5 * summary.start_loss, "{summary:?}");
    assert!(
        objective.saved_at.borrow().is_sorted_by(|a, b| a >= b),
        "only better ones are saved"
    );
    assert!(dir.join("adapter/params.safetensors").is_file());
    assert!(dir.join("checkpoints/step-000016/state.json").is_file());
    assert!(dir.join("samples/step-000005.md").is_file());

    let rows = run::read_metrics(&dir).unwrap();
    let steps = |key: &str| -> Vec<u64> {
        let with = rows.iter().filter(|r| r.metrics.contains_key(key));
        with.map(|r| r.step).collect()
    };
    assert_eq!(steps("train/loss"), [3, 6, 9, 12, 15, 16]);
    assert_eq!(steps("eval/loss"), [0, 4, 8, 12, 16]);
    for row in rows.iter().filter(|r| r.metrics.contains_key("train/loss")) {
        assert_eq!(row.metrics["train/rows"], 1.0, "divided as the loss is");
    }
}

#[test]
fn accumulation_equals_the_big_batch() {
    let data = items(30, 1);
    let mut ends = Vec::new();
    for micro_batch_tokens in [1, 5, 1000] {
        let dir = tempfile::tempdir().unwrap();
        let mut objective = Regression::new();
        let config = FitConfig {
            micro_batch_tokens,
            ..config()
        };
        train_in(&dir.path().join("run"), &mut objective, &data, &config).unwrap();
        let numbers = objective.numbers();
        ends.push(numbers.iter().map(|v| f64::from(*v)).collect::<Vec<_>>());
    }
    assert_close_slices("micro-batches of 1", &ends[0], &ends[2], 1e-6);
    assert_close_slices("micro-batches of 5", &ends[1], &ends[2], 1e-6);
}

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
        let mut dying = Dying(Regression::new(), 0);
        fit(&mut dying, &data, &config, &mut run, false).unwrap_err()
    };
    let (died, at) = (died.to_string(), "checkpoints/step-000006");
    let says = "step 8: power cut; the last good checkpoint is ";
    assert!(died.starts_with(says) && died.ends_with(at), "{died}");
    assert!(dir.join("checkpoints/step-000006").is_dir());
    assert!(!dir.join("checkpoints/step-000008").exists());

    let mut run = Run::resume(&dir, "test", &json!({ "train": config })).unwrap();
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
fn the_pace_of_an_older_checkpoints_steps_is_not_made_up() {
    let data = vec![items(3, 1).pop().unwrap(); 32]; // 3 tokens each, 12 a step
    let config = FitConfig {
        log_every: 8,
        ..config()
    };
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("run");
    let mut run = Run::create(&dir, "test", &json!({ "train": config })).unwrap();
    fit(
        &mut Dying(Regression::new(), 0),
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

    let mut run = Run::resume(&dir, "test", &json!({ "train": config })).unwrap();
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
struct Dying(Regression, u64);

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
            anyhow::ensure!(draw > self.1, "a draw came twice");
            self.1 = draw;
        }
        anyhow::ensure!(draw >> 16 < 8, "power cut");
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
    let mut run = Run::resume(&dir, "test", &json!({ "train": config })).unwrap();
    let mut objective = Regression::new();
    let error = fit(&mut objective, &items(29, 1), &config, &mut run, true).unwrap_err();
    assert!(error.to_string().contains("30 training items"), "{error}");
}

#[test]
fn a_nan_stops_the_run_and_keeps_the_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("run");
    let mut data = items(64, 1);
    data[63][0].1 = f32::NAN;
    let mut objective = Regression::new();
    let config = FitConfig {
        batch_size: 1,
        save_every: 1,
        ..config()
    };
    let error = train_in(&dir, &mut objective, &data, &config).unwrap_err();
    let step: u64 = {
        let text = error.to_string();
        assert!(
            text.contains(": the loss is NaN; the first bad tensor is the gradient of w, row 0; "),
            "{text}"
        );
        assert!(
            text.contains("row 0 of the batch is the first bad one; its batch is in "),
            "{text}"
        );
        let step = text.strip_prefix("step ").unwrap();
        step.split(':').next().unwrap().parse().unwrap()
    };
    assert!(objective.numbers().iter().all(|v| v.is_finite()));
    if step > 1 {
        let last = dir.join(format!("checkpoints/step-{:06}", step - 1));
        assert!(
            last.join("state.json").is_file(),
            "{} is gone",
            last.display()
        );
        assert!(
            error.to_string().contains(&last.display().to_string()),
            "{error}"
        );
    }
    let info = std::fs::read_to_string(dir.join("run.json")).unwrap();
    assert!(info.contains("\"failed\""), "{info}");
}

#[test]
fn what_does_not_move_and_what_must_not_are_named() {
    let var = |value: f32| Var::new(&[value, 1.0], &Device::Cpu).unwrap();
    let params = vec![
        ("moves".to_string(), var(1.0)),
        ("stuck".to_string(), var(2.0)),
    ];
    let mut tripwire = train::Tripwire::new(&params).unwrap();
    for step in 0..2 {
        params[0]
            .1
            .set(&Tensor::new(&[step as f32, 0.5], &Device::Cpu).unwrap())
            .unwrap();
        assert!(!tripwire.passed(&params, 1e-3).unwrap());
    }
    let text = tripwire.passed(&params, 1e-3).unwrap_err().to_string();
    assert!(
        text.contains("1 of 2 trainable tensors did not change in 3 steps, the first is stuck"),
        "{text}"
    );

    // a base whose second tensor is written to
    let base = |last: f32| {
        let second: Vec<f32> = (0..200).map(|i| i as f32).chain([last]).collect();
        let tensor = |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap();
        vec![
            ("norm".to_string(), tensor(&[1.0])),
            ("q_proj".to_string(), tensor(&second)),
        ]
    };
    let frozen = train::Frozen::new(&base(0.0)).unwrap();
    frozen.check(&base(0.0)).unwrap();
    let mut moved = base(0.0);
    moved[1].1 = (&moved[1].1 + 1e-3).unwrap();
    let text = frozen.check(&moved).unwrap_err().to_string();
    assert!(
        text.contains("the frozen weight q_proj has changed"),
        "{text}"
    );
}

/// No row of a batch has a label: nothing is divided by 0.
#[test]
fn a_batch_with_nothing_to_learn_from_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut data = items(4, 1);
    data.iter_mut().for_each(Vec::clear);
    let error = train_in(
        &dir.path().join("run"),
        &mut Regression::new(),
        &data,
        &config(),
    );
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("step 1: no item of the batch has anything to learn from"),
        "{error}"
    );
}

#[test]
fn a_parameter_that_no_gradient_reaches_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut objective = Regression::new();
    objective.unreached = Some(Var::from_tensor(&objective.w.ones_like().unwrap()).unwrap());
    let error = train_in(
        &dir.path().join("run"),
        &mut objective,
        &items(8, 1),
        &config(),
    );
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("step 1: no gradient reaches unreached"),
        "{error}"
    );
}

#[test]
fn impossible_settings_are_named() {
    #[track_caller]
    fn check(config: FitConfig, message: &str) {
        let error = config.check().unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    let base = FitConfig::default;
    let optimizer = OptimizerConfig::default;
    base().check().unwrap();
    check(
        FitConfig {
            epochs: 0.0,
            ..base()
        },
        "train.epochs = 0",
    );
    check(
        FitConfig {
            max_steps: Some(0),
            ..base()
        },
        "train.max_steps = 0",
    );
    check(
        FitConfig {
            batch_size: 0,
            ..base()
        },
        "train.batch_size = 0",
    );
    let with = |optimizer| FitConfig {
        optimizer,
        ..base()
    };
    check(
        with(OptimizerConfig {
            lr: -1.0,
            ..optimizer()
        }),
        "train.optimizer.lr = -1",
    );
    check(
        with(OptimizerConfig {
            lr: f64::NAN,
            ..optimizer()
        }),
        "train.optimizer.lr = NaN",
    );
    check(
        with(OptimizerConfig {
            beta2: 1.0,
            ..optimizer()
        }),
        "train.optimizer.beta2 = 1",
    );
    let unknown = toml::from_str::<FitConfig>("batchsize = 3")
        .unwrap_err()
        .to_string();
    assert!(unknown.contains("unknown field `batchsize`"), "{unknown}");
}

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
        assert_close(name, &cut, whole, 2e-5);
    }
}
