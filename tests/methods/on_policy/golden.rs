//! Against scripts/golden/on_policy.py, whose rloo and grpo are TRL's too.

use super::*;
use crate::algorithms::support::*;
use std::collections::BTreeMap;
use testkit::{assert_close_slices, golden_json};

fn cases(name: &str) -> Vec<Value> {
    golden_json("on_policy.json")[name]
        .as_array()
        .unwrap()
        .clone()
}

/// Prepares the case's batch, checks loss and gradient, and returns what was prepared.
#[track_caller]
fn check_case(
    name: &str,
    algorithm: &mut dyn Algorithm,
    case: &Value,
) -> (Experience, Now, BTreeMap<String, f64>) {
    let (exp, now) = golden_batch(&case["batch"]);
    let (exp, metrics) = algorithm.prepare(exp).unwrap();
    let found = loss(algorithm, &exp, &now);
    let at = |what: &str| format!("{name} {}: {what}", case["config"]);
    let wanted = [case["loss"].as_f64().unwrap()];
    // weights are f32, and MRT's loss, a mean of weights that sum to 0, is divided by α
    let tolerance = if name == "mrt" { 1e-5 } else { 1e-6 };
    assert_close_slices(&at("loss"), &[found.loss], &wanted, tolerance);
    let wanted = numbers(&case["grad_logp"]);
    assert_close_slices(&at("d/dlogp"), &found.d_logp, &wanted, 1e-6);
    (exp, now, metrics)
}

#[test]
fn reinforce_equals_the_golden_program() {
    for steps in cases("reinforce") {
        let steps = steps.as_array().unwrap();
        let mut algorithm = method("reinforce", steps[0]["config"].clone());
        for case in steps {
            let (exp, _, metrics) = check_case("reinforce", algorithm.as_mut(), case);
            assert_close_slices(
                "weight",
                &wide(&exp.weight),
                &numbers(&case["weight"]),
                1e-6,
            );
            let b = case["baseline"].as_f64().unwrap();
            assert_close_slices("baseline", &[metrics["reinforce/baseline"]], &[b], 1e-6);
        }
    }
}

#[test]
fn mrt_and_rloo_equal_the_golden_program_and_rloo_trl() {
    for name in ["mrt", "rloo"] {
        for case in cases(name) {
            let mut algorithm = method(name, case["config"].clone());
            let (exp, ..) = check_case(name, algorithm.as_mut(), &case);
            assert_close_slices(
                "weight",
                &wide(&exp.weight),
                &numbers(&case["weight"]),
                1e-6,
            );
        }
    }
}

#[test]
fn grpo_equals_the_golden_program_and_trl() {
    for case in cases("grpo") {
        let mut algorithm = method("grpo", case["config"].clone());
        let (exp, now, _) = check_case("grpo", algorithm.as_mut(), &case);
        let layout = exp.layout();
        let firsts = layout.ranges().map(|t| exp.advantages[t.start]);
        let advantages: Vec<f32> = firsts.collect();
        assert_close_slices("A", &wide(&advantages), &numbers(&case["weight"]), 1e-6);
        for half in case["minibatches"].as_array().unwrap() {
            let rows: Vec<usize> = numbers(&half["rows"]).iter().map(|r| *r as usize).collect();
            let (exp, now) = (exp.select(&rows), now.select(&exp, &rows));
            let found = loss(algorithm.as_ref(), &exp, &now);
            let wanted = [half["loss"].as_f64().unwrap()];
            assert_close_slices("half: loss", &[found.loss], &wanted, 1e-6);
            let wanted = numbers(&half["grad_logp"]);
            assert_close_slices("half: d/dlogp", &found.d_logp, &wanted, 1e-6);
        }
    }
}
