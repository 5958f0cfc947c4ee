//! Faults that the fit loop reports: NaN, parameters that do not train, frozen weights that change.

use super::{Regression, config, items, train_in};
use candle_core::{Device, Tensor, Var};
use train::FitConfig;

#[test]
fn a_nan_stops_the_run_and_keeps_the_last_checkpoint() {
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
fn stuck_parameters_and_changed_frozen_weights_are_named() {
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
