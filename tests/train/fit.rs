//! The fit loop on a linear regression: what it logs, saves and learns.

use super::{Regression, config, items, train_in};
use crate::common::resume_run;
use testkit::assert_close_slices;
use train::FitConfig;

#[test]
fn fit_learns_and_saves_the_best_result() {
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
fn micro_batches_give_the_parameters_of_one_batch() {
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

/// The notes of run.json after a fit with these settings, and the summary.
fn notes(config: &FitConfig, weights: Option<[f32; 3]>) -> (serde_json::Value, train::Summary) {
    let dir = tempfile::tempdir().unwrap();
    let (mut objective, data) = (Regression::new(), items(30, 1));
    if let Some(weights) = weights {
        let weights = candle_core::Tensor::new(&weights, &candle_core::Device::Cpu).unwrap();
        objective.w.set(&weights).unwrap();
    }
    let dir = dir.path().join("run");
    let summary = train_in(&dir, &mut objective, &data, config).unwrap();
    let info = std::fs::read(dir.join("run.json")).unwrap();
    let info: serde_json::Value = serde_json::from_slice(&info).unwrap();
    (info["notes"].clone(), summary)
}

#[test]
fn a_fit_that_went_wrong_says_so_once() {
    let at = |lr: f64| {
        let mut config = config();
        config.optimizer.lr = lr;
        config
    };
    assert_eq!(
        notes(&at(0.05), None).0,
        serde_json::Value::Null,
        "a healthy fit"
    );
    // the plane itself, and steps that are far too large
    let (said, summary) = notes(&at(30.0), Some([1.0, -2.0, 0.5]));
    assert!(summary.best.unwrap().loss > summary.start_loss);
    let text = |key: &str| {
        said[key]
            .as_str()
            .unwrap_or_else(|| panic!("{said}"))
            .to_string()
    };
    assert!(
        text("diverged").contains("training diverges; lower train.optimizer.lr"),
        "{said}"
    );
    assert!(
        text("worse").starts_with("training made the model worse: the held-out loss was"),
        "{said}"
    );
    let (said, _) = notes(&at(1e-9), None);
    assert!(
        said["unmoved"]
            .as_str()
            .unwrap()
            .contains("raise train.optimizer.lr"),
        "{said}"
    );
}

#[test]
fn more_steps_than_the_epochs_give_are_said() {
    let more = FitConfig {
        max_steps: Some(500),
        ..config()
    };
    let (said, summary) = notes(&more, None);
    assert_eq!(summary.steps, 16);
    assert_eq!(
        said["max_steps"],
        "train.max_steps = 500 is more than the 16 steps of train.epochs = 2: the run takes 16; \
         raise train.epochs for more"
    );
    let fewer = FitConfig {
        max_steps: Some(3),
        ..config()
    };
    assert_eq!(notes(&fewer, None).1.steps, 3);
    assert_eq!(fewer.capped_by_epochs(8), None);
}

/// Masks of dropout are keyed by the seed in new runs, and by the step alone in runs that began
/// before that.
#[test]
fn the_draws_of_dropout_depend_on_the_seed_in_new_runs() {
    let draws = |seed: u64, old: bool| {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("run");
        let config = FitConfig { seed, ..config() };
        let mut run =
            run::Run::create(&dir, "test", &serde_json::json!({ "train": config })).unwrap();
        if old {
            drop(run); // which writes run.json
            let mut info: serde_json::Value =
                serde_json::from_slice(&std::fs::read(dir.join("run.json")).unwrap()).unwrap();
            for key in ["rules", "sha256", "files"] {
                info.as_object_mut().unwrap().remove(key);
            }
            std::fs::write(dir.join("run.json"), info.to_string()).unwrap();
            run = resume_run(&dir, "test", &serde_json::json!({ "train": config })).unwrap();
        }
        let mut objective = Regression::new();
        train::fit(&mut objective, &items(30, 1), &config, &mut run, false).unwrap();
        objective.draws
    };
    let (one, two) = (draws(1, false), draws(2, false));
    assert_eq!(one, draws(1, false));
    assert!(
        one.iter().all(|draw| *draw == 0 || !two.contains(draw)),
        "{one:?} {two:?}"
    );
    let old = draws(1, true);
    let step_of = |draw: u64| draw >> 16;
    let old: Vec<u64> = old.into_iter().filter(|draw| *draw > 0).collect();
    assert_eq!((step_of(old[0]), step_of(*old.last().unwrap())), (1, 16));
    let drawn = |draws: &[u64]| draws.iter().filter(|draw| **draw > 0).count();
    let unique: std::collections::BTreeSet<u64> = one.iter().copied().collect();
    assert_eq!(unique.len(), drawn(&one) + usize::from(one.contains(&0)));
}
