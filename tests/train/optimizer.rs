//! AdamW, clipping and schedules against PyTorch and transformers, and the optimiser's state on
//! disk.

use candle_core::{DType, Device, Tensor, Var};
use testkit::{assert_close, assert_close_slices, golden_json, golden_tensors};
use train::{AdamW, FitConfig, Gradients, OptimizerConfig, Schedule, clip_scale};

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
            .step(&grads, config.lr_at(step, 10, run::Rules::First), scale)
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
fn clipping_equals_pytorchs() {
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

/// Other numbers than f32 on the CPU are squared as tensors, as on a GPU.
#[test]
fn a_non_finite_weight_is_named_in_every_dtype() {
    for dtype in [DType::F32, DType::BF16] {
        let named = |name: &str, numbers: &[f32]| {
            let tensor = Tensor::new(numbers, &Device::Cpu).unwrap();
            let var = Var::from_tensor(&tensor.to_dtype(dtype).unwrap()).unwrap();
            (name.to_string(), var)
        };
        let mut params = vec![named("a", &[1.0, 2.0]), named("b", &[3.0])];
        assert_eq!(train::first_non_finite(&params).unwrap(), None);
        params.push(named("c", &[0.0, f32::NAN]));
        params.push(named("d", &[f32::INFINITY]));
        assert_eq!(train::first_non_finite(&params).unwrap(), Some("c"));
    }
}

#[test]
fn a_mismatched_optimizer_state_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("optimizer.safetensors");
    let params = |name: &str, n: usize| {
        vec![(
            name.to_string(),
            Var::zeros(n, DType::F32, &Device::Cpu).unwrap(),
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
fn the_first_step_of_a_warm_up_moves_in_new_runs() {
    let config = OptimizerConfig {
        lr: 1.0,
        schedule: Schedule::Constant,
        warmup_ratio: 0.3,
        ..OptimizerConfig::default()
    };
    let at = |rules| {
        (0..6)
            .map(|step| config.lr_at(step, 10, rules))
            .collect::<Vec<f64>>()
    };
    assert_eq!(at(run::Rules::CURRENT), [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]);
    for old in [run::Rules::First, run::Rules::SeededDropout] {
        assert_eq!(at(old), [0.0, 1.0 / 3.0, 2.0 / 3.0, 1.0, 1.0, 1.0]);
    }
    let none = OptimizerConfig {
        warmup_ratio: 0.0,
        ..config
    };
    assert_eq!(none.lr_at(0, 10, run::Rules::CURRENT), 1.0);
}
