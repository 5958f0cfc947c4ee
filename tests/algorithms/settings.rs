//! The `[algorithm]` table: defaults, and errors that name the key.

use algorithms::{build, registry};
use serde_json::{Value, json};

#[test]
fn defaults_build() {
    for entry in registry() {
        assert!(
            entry
                .build(&entry.resolve(&Value::Null).unwrap(), 0)
                .is_ok(),
            "{}",
            entry.name
        );
        assert!(entry.build(&json!({}), 0).is_ok(), "{}", entry.name);
        assert!(entry.build(&Value::Null, 0).is_ok(), "{}", entry.name);
    }
}

/// Building fails with one line that contains all `words`.
#[track_caller]
fn check(name: &str, config: Value, words: &[&str]) {
    let message = build(name, &config, 0).err().expect("refused").to_string();
    assert!(
        !message.contains('\n') && words.iter().all(|w| message.contains(w)),
        "{message}"
    );
}

#[test]
fn errors_of_names_and_ppo_settings_name_the_key_in_one_line() {
    check(
        "pp",
        json!({}),
        &["algorithm.name = \"pp\"", "did you mean \"ppo\""],
    );
    check(
        "ppo",
        json!({"kl_coeff": 0.1}),
        &["unknown key \"algorithm.kl_coeff\"", "algorithm.kl_coef"],
    );
    check(
        "ppo",
        json!({"clip": "a"}),
        &["algorithm.clip", "expected a number"],
    );
    check(
        "ppo",
        json!({"kl_estimator": "k4"}),
        &["algorithm.kl_estimator", "k3"],
    );
    check("ppo", json!([]), &["expected a table"]);
    for (key, value) in [
        ("kl_coef", -0.1),
        ("clip", 0.0),
        ("clip", 1.0),
        ("gamma", 1.5),
        ("lam", -0.1),
        ("dual_clip", 0.5),
        ("kl_target", 0.0),
        ("kl_horizon", 0.0),
    ] {
        check(
            "ppo",
            json!({ key: value }),
            &[&format!("algorithm.{key} = "), "expected"],
        );
    }
    check("ppo", json!({"epochs": 0}), &["algorithm.epochs = 0"]);
    check("ppo", json!({"samples": 0}), &["algorithm.samples = 0"]);
}

#[test]
fn errors_of_esrl_settings_name_the_key_in_one_line() {
    check(
        "esrl",
        json!({"mode": "fast"}),
        &[
            "algorithm.mode = \"fast\"",
            "paper",
            "released",
            "corrected",
        ],
    );
    check(
        "esrl",
        json!({"bta": 0.3}),
        &["algorithm.bta", "algorithm.beta"],
    );
    check(
        "esrl",
        json!({"mode": "released", "k_max": 2}),
        &["unknown key \"algorithm.k_max\""],
    );
    check(
        "esrl",
        json!({"mode": "released", "ppo": {"clp": 2}}),
        &["algorithm.ppo.clp", "algorithm.ppo.clip"],
    );
    check(
        "esrl",
        json!({"mode": "released", "ppo": {"clip": 2}}),
        &["algorithm.ppo.clip = 2"],
    );
    check(
        "esrl",
        json!({"mode": "released", "beta": 1.0}),
        &["algorithm.beta = 1"],
    );
    check("esrl", json!({"k_max": 0}), &["algorithm.k_max = 0"]);
    check("esrl", json!({"k_floor": 5}), &["algorithm.k_floor = 5"]);
    check(
        "esrl",
        json!({"k_floor": 0, "beta": 1.0}),
        &["algorithm.beta = 1"],
    );
    check(
        "esrl",
        json!({"tau_min": 1.1}),
        &["algorithm.tau_min = 1.1"],
    );
    check("esrl", json!({"tau_min": 0.0}), &["algorithm.tau_min = 0"]);
    check("esrl", json!({"alpha": 0.0}), &["algorithm.alpha = 0"]);
    check("esrl", json!({"fifo": 0}), &["algorithm.fifo = 0"]);
    check(
        "esrl",
        json!({"prompt_baseline": 1.5}),
        &["algorithm.prompt_baseline"],
    );
    check(
        "esrl",
        json!({"capability": "speed"}),
        &["algorithm.capability", "full_entropy"],
    );
}

/// Keys of shared groups are read through serde's `flatten`, which forgets their names.
#[test]
fn a_wrong_type_is_reported_with_its_key() {
    for entry in registry() {
        let defaults = entry.resolve(&Value::Null).unwrap();
        for (key, value) in defaults.as_object().unwrap() {
            if key == "mode" || value.is_object() {
                continue;
            }
            let wrong = match value {
                Value::Bool(_) => json!(7),
                Value::Array(_) => json!("x"),
                _ => json!([true]),
            };
            let message = entry
                .build(&json!({ key: wrong }), 0)
                .err()
                .expect("an error");
            let message = message.to_string();
            let named = message.contains(&format!("algorithm.{key}"));
            assert!(
                named && !message.contains('\n'),
                "{}: {message}",
                entry.name
            );
        }
        assert_eq!(
            entry.resolve(&defaults).unwrap(),
            defaults,
            "{}",
            entry.name
        );
    }
    for key in ["eos_penalty", "score_clip", "epochs", "minibatches", "clip"] {
        let given = json!({ "mode": "released", "ppo": { key: [true] } });
        let message = build("esrl", &given, 0)
            .err()
            .expect("an error")
            .to_string();
        assert!(
            message.contains(&format!("algorithm.ppo.{key}")),
            "{message}"
        );
    }
}
