//! `wick table` and `wick plot`: comparisons of several seeds.

use super::world::refused;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[test]
fn a_table_of_seeds_has_means_and_spreads() {
    let dir = tempfile::tempdir().unwrap();
    let write = |seed: usize, oracle: [f64; 2], samples: serde_json::Value| {
        let at = dir.path().join(format!("compare-{seed}"));
        std::fs::create_dir(&at).unwrap();
        let row = |name: &str, oracle: f64, samples: &serde_json::Value| {
            serde_json::json!({"name": name, "oracle": {"mean": oracle}, "samples_drawn": samples,
                "wall_hours": 0.01, "kl_exact": null})
        };
        let none = serde_json::Value::Null;
        let rows = [
            row("sft", oracle[0], &none),
            row("ppo", oracle[1], &samples),
        ];
        let text = serde_json::json!({ "rows": rows }).to_string();
        std::fs::write(at.join("compare.json"), text).unwrap();
        at
    };
    let compared = vec![
        write(1, [4.0, 8.0], serde_json::json!(100)),
        write(2, [5.0, 8.0], serde_json::json!(120)),
    ];
    let out = dir.path().join("table.md");
    let config = evaluate::TableConfig {
        compared: compared.clone(),
        out: Some(out.clone()),
        force: false,
    };
    let text = evaluate::table(&config).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(
        lines[2],
        "| `ppo` | 8.00 ± 0.00 | – | – | – | 110 ± 14 | – | 36 ± 0 | – | 2 |"
    );
    assert_eq!(
        lines[3],
        "| `sft` | 4.50 ± 0.71 | – | – | – | – | – | 36 ± 0 | – | 2 |"
    );
    assert_eq!(std::fs::read_to_string(out).unwrap(), text);
    refused(evaluate::table(&config), "or replace it with --force");
    let config = evaluate::TableConfig {
        force: true,
        ..config
    };
    assert_eq!(evaluate::table(&config).unwrap(), text);
    std::fs::remove_file(compared[1].join("compare.json")).unwrap();
    let error = evaluate::table(&config).unwrap_err().to_string();
    assert!(error.contains("run `wick compare` first"), "{error}");
}

#[test]
fn a_plot_has_a_panel_per_column_and_a_series_per_name() {
    let dir = tempfile::tempdir().unwrap();
    let row = |name: &str, stage: &str, oracle: f64| serde_json::json!({"name": name, "stage": stage, "oracle": {"mean": oracle}, "tokens_drawn": 20_000.0});
    let compared: Vec<_> = [7.0, 8.0]
        .iter()
        .enumerate()
        .map(|(seed, oracle)| {
            let at = dir.path().join(format!("compare-{seed}"));
            std::fs::create_dir(&at).unwrap();
            let rows = [
                row("sft", "sft", 4.0),
                row("esrl@0.1", "esrl-rlhf", *oracle),
                row("esrl@0.5", "esrl-rlhf", oracle - 1.0),
                row("mrt@0.1", "esrl-rlhf", *oracle),
            ];
            let text = serde_json::json!({ "rows": rows }).to_string();
            std::fs::write(at.join("compare.json"), text).unwrap();
            at
        })
        .collect();
    let mut config = evaluate::PlotConfig {
        compared,
        runs: Vec::new(),
        metric: None,
        y: vec!["oracle".into(), "tokens_drawn".into()],
        title: "Elimination".into(),
        x: "beta".into(),
        out: dir.path().join("plot.svg"),
        force: false,
    };
    evaluate::plot(&config).unwrap();
    let svg = std::fs::read_to_string(&config.out).unwrap();
    for text in [
        "Elimination",
        "beta",
        "oracle (1-10)",
        "tokens drawn",
        "esrl",
        "mrt",
        "20k",
    ] {
        assert!(
            svg.contains(&format!("\n{text}\n")),
            "{text} is not in {svg}"
        );
    }
    assert!(!svg.contains("sft"));
    // three points in each of two panels
    assert_eq!(svg.matches("<circle").count(), 6);
    refused(evaluate::plot(&config), "or replace it with --force");
    config.force = true;
    evaluate::plot(&config).unwrap();
    #[track_caller]
    fn fails(config: &evaluate::PlotConfig, expected: &str) {
        refused(evaluate::plot(config), expected);
    }
    let compared = std::mem::take(&mut config.compared);
    fails(&config, "give --compared DIR");
    config.compared = vec![dir.path().join("none")];
    fails(
        &config,
        "none does not exist; give a directory that `wick compare` wrote",
    );
    config.compared = compared;
    let out = std::mem::replace(&mut config.out, dir.path().join("no/plot.svg"));
    fails(&config, "--out is written into it");
    config.out = out;
    config.y = vec!["orakel".into()];
    let error = evaluate::plot(&config).unwrap_err().to_string();
    assert!(
        error.contains("--y orakel is not known; it is one of oracle, "),
        "{error}"
    );
}

/// Writes a comparison of the shared start and of `ppo`; a null takes a key away.
fn comparison(dir: &Path, name: &str, changed: &[(&str, Value)], ppo: &str) -> PathBuf {
    let mut report = json!({"prompts_from": name, "prompts_sha256": "p", "prompts": 10,
    "prompts_left_out": 0, "temperature": 1.0, "max_new_tokens": 48, "reward": {"name": name},
    "rows": [
        {"name": "sft", "policy_sha256": "shared", "oracle": {"mean": 4.0}},
        {"name": "ppo", "policy_sha256": ppo, "oracle": {"mean": 8.0}},
    ]});
    for (key, value) in changed {
        match value.is_null() {
            true => drop(report.as_object_mut().unwrap().remove(*key)),
            false => report[key] = value.clone(),
        }
    }
    let at = dir.join(name);
    std::fs::create_dir(&at).unwrap();
    std::fs::write(at.join("compare.json"), report.to_string()).unwrap();
    at
}

fn table_of(compared: Vec<PathBuf>) -> anyhow::Result<String> {
    evaluate::table(&evaluate::TableConfig {
        compared,
        out: None,
        force: false,
    })
}

/// Seeds share the run that they started from: it is one, and theirs are three.
#[test]
fn a_policy_that_all_seeds_have_is_counted_once() {
    let dir = tempfile::tempdir().unwrap();
    let compared = ["a", "b", "c"].map(|policy| comparison(dir.path(), policy, &[], policy));
    let text = table_of(compared.to_vec()).unwrap();
    for (name, seeds) in [("`sft`", "1"), ("`ppo`", "3")] {
        let line = text.lines().find(|line| line.contains(name)).unwrap();
        assert_eq!(line.split('|').rev().nth(1).unwrap().trim(), seeds);
    }
}

/// Comparisons that are not seeds of each other, for table and plot alike.
#[test]
fn only_comparisons_of_the_same_kind_are_averaged() {
    let dir = tempfile::tempdir().unwrap();
    let plot = |compared: Vec<PathBuf>| {
        evaluate::plot(&evaluate::PlotConfig {
            compared,
            runs: Vec::new(),
            metric: None,
            y: vec!["oracle".into()],
            title: String::new(),
            x: String::new(),
            out: dir.path().join("plot.svg"),
            force: true,
        })
    };
    let first = comparison(dir.path(), "first", &[], "a");
    let none = Value::Null;
    for (name, key, value, expected) in [
        (
            "hash",
            "prompts_sha256",
            json!("q"),
            "other prompts, of \"first\" and \"hash\"; compare the runs of each seed again with \
             `evaluate compare --prompts FILE`, one file for all of them",
        ),
        ("number", "prompts", json!(40), "prompts 10 and 40"),
        ("cold", "temperature", json!(0.5), "temperature 1.0 and 0.5"),
        (
            "length",
            "max_new_tokens",
            json!(3),
            "max_new_tokens 48 and 3",
        ),
        (
            "reward",
            "reward",
            none.clone(),
            "only one of them has a reward",
        ),
    ] {
        let other = comparison(dir.path(), name, &[(key, value)], "b");
        let compared = vec![first.clone(), other];
        refused(table_of(compared.clone()), expected);
        refused(plot(compared), expected);
    }
    // An older version stored no hash of the prompts.
    let old = comparison(dir.path(), "old", &[("prompts_sha256", none)], "b");
    table_of(vec![first.clone(), old]).unwrap();
    let again = vec![first.clone(), comparison(dir.path(), "again", &[], "a")];
    refused(table_of(again.clone()), "has no other runs than");
    refused(plot(again), "is no second seed");
    refused(table_of(vec![first.clone(), first]), "is given twice");
}
