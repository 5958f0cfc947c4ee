//! ReST's filters and phases.

use super::*;
use algorithms::{DataSource, PoolRequirements};

#[test]
fn rest_filters_equal_numpy_and_shrink_with_the_threshold() {
    let golden = golden_json("offline.json");
    let (exp, _) = golden_batch("rows");
    let rows = pool(&exp.prompt_key, &exp.score, &[]);
    let kept = |filter: &str, threshold: f64| -> Vec<bool> {
        let config = json!({"filter": filter, "thresholds": [threshold], "fallback": true});
        let (weights, _) = method("rest", config).weigh(&rows, 0).unwrap();
        weights.iter().map(|w| *w > 0.0).collect()
    };
    for case in golden["filters"].as_array().unwrap() {
        let (filter, threshold) = (
            case["filter"].as_str().unwrap(),
            case["threshold"].as_f64().unwrap(),
        );
        assert_eq!(
            json!(kept(filter, threshold)),
            case["kept"],
            "{filter} {threshold}"
        );
    }
    for (filter, steps) in [
        ("absolute", [0.0, 0.2, 0.4, 0.6]),
        ("percentile", [0.0, 40.0, 80.0, 100.0]),
        ("between", [0.0, 0.3, 0.8, 1.0]),
    ] {
        let counts = steps.map(|t| kept(filter, t).iter().filter(|k| **k).count());
        assert!(counts.is_sorted_by(|a, b| a >= b), "{filter}: {counts:?}");
        if filter != "absolute" {
            let best = kept(filter, steps[3]);
            for group in algorithms::groups(&exp.prompt_key) {
                assert!(best[group].contains(&true), "{filter} loses a prompt");
            }
        }
    }
    let equal = pool(&[1, 1, 2], &[0.4; 3], &[]);
    for filter in ["percentile", "between"] {
        let config = json!({"filter": filter, "thresholds": [1.0]});
        let (weights, _) = method("rest", config).weigh(&equal, 0).unwrap();
        assert_eq!(weights, [1.0; 3], "{filter} with all-equal rewards");
    }
}

#[test]
fn rest_phases_raise_thresholds_and_errors_when_nothing_passes() {
    let rest = method(
        "rest",
        json!({"improve_steps": 10, "thresholds": [0.0, 0.5, 0.9], "lr_decay": 0.5}),
    );
    let phases: Vec<u64> = [0, 9, 10, 25, 30, 59]
        .into_iter()
        .map(|s| rest.phase(s))
        .collect();
    assert_eq!(phases, [0, 0, 1, 2, 3, 5]);
    let scales: Vec<f64> = [0, 10, 25, 30, 59]
        .into_iter()
        .map(|s| rest.lr_scale(s))
        .collect();
    assert_close_slices("lr", &scales, &[1.0, 0.5, 0.25, 1.0, 0.25], 0.0);
    let DataSource::Pool(PoolRequirements {
        grow: Some(grow), ..
    }) = rest.requirements().source
    else {
        panic!("a pool that grows")
    };
    assert_eq!((grow.every, grow.samples, grow.keep_data), (30, 4, true));
    let rows = pool(&[1, 1, 2, 2], &[0.2, 0.6, 0.7, 0.7], &[]);
    let (weights, metrics) = rest.weigh(&rows, 4).unwrap();
    assert_eq!(weights, [0.0, 1.0, 1.0, 1.0], "> 0.5");
    let found = ["rest/improve", "rest/threshold", "rest/kept_frac"].map(|name| metrics[name]);
    assert_close_slices("metrics", &found, &[2.0, 0.5, 0.75], 0.0);
    let message = rest.weigh(&rows, 2).unwrap_err().to_string();
    assert!(
        message.contains("above 0.9 (Improve 3") && message.contains("algorithm.thresholds"),
        "{message}"
    );
    let fallback = method("rest", json!({"thresholds": [0.9], "fallback": true}));
    assert_eq!(
        fallback.weigh(&rows, 0).unwrap().0,
        [0.0, 1.0, 1.0, 1.0],
        "each prompt's best"
    );
    let mut twins = rows;
    twins.response_key = vec![1, 2, 3, 3];
    // the fallback's rows too count once
    for threshold in [0.5, 0.9] {
        let config = json!({"thresholds": [threshold], "deduplicate": true, "fallback": true});
        let once = method("rest", config);
        assert_eq!(once.weigh(&twins, 0).unwrap().0, [0.0, 1.0, 1.0, 0.0]);
    }
    for (config, words) in [
        (json!({"thresholds": []}), "algorithm.thresholds = []"),
        (json!({"thresholds": [0.9, 0.5]}), "never fall"),
        (json!({"thresholds": [1.5]}), "from 0 to 1"),
        (json!({"samples": 0}), "algorithm.samples = 0"),
        (
            json!({"gold": {"suffix": 2}}),
            "algorithm.gold needs algorithm.loss = \"gold\"",
        ),
    ] {
        let message = build("rest", &config, 0)
            .err()
            .expect("refused")
            .to_string();
        assert!(message.contains(words), "{message}");
    }
}
