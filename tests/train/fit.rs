//! The fit loop on a linear regression: what it logs, saves and learns.

use super::{Regression, config, items, train_in};
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
