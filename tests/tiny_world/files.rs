//! The files of data/tiny: rows, shares of flaws, held-out prompts.

use super::{field, rows, text};
use serde_json::Value;
use std::collections::HashSet;
use std::path::Path;
use tiny_world::{Task, datasets, grade, tasks::FAMILIES};

#[test]
fn shipped_files_equal_those_of_seed_1() {
    let all = |seed| {
        [datasets::files(seed), tiny_world::recipes::files(seed)]
            .into_iter()
            .flatten()
    };
    let files: Vec<_> = all(1).collect();
    for file in &files {
        assert!(
            file.text == text(file.name),
            "data/tiny/{} is not what `tiny-world generate --seed 1` writes",
            file.name
        );
    }
    let other: Vec<_> = all(2).collect();
    assert!(files.iter().zip(&other).all(|(a, b)| a.text != b.text));
}

#[test]
fn every_row_is_graded_and_references_get_full_marks() {
    for row in rows("demonstrations.json") {
        assert!(
            grade(
                field(&row, "instruction"),
                field(&row, "input"),
                field(&row, "output")
            )
            .is_some(),
            "{row}"
        );
    }
    let mut families = HashSet::new();
    for name in ["prompts.json", "heldout.json"] {
        for row in rows(name) {
            let task = Task::parse(field(&row, "instruction"), field(&row, "input")).unwrap();
            assert_eq!(
                tiny_world::grade_task(&task, field(&row, "output")).score,
                10.0,
                "{row}"
            );
            assert_eq!(
                tiny_world::grade_task(&task, &task.right).score,
                10.0,
                "{row}"
            );
            families.insert(task.family.name);
        }
    }
    assert_eq!(families.len(), FAMILIES.len());
    for row in rows("comparisons-clean.json") {
        let score = |key| {
            grade(field(&row, "user_input"), "", field(&row, key))
                .unwrap()
                .score
        };
        assert!(score("completion_a") > score("completion_b"), "{row}");
    }
}

fn asked_in_template(instruction: &str, input: &str) -> String {
    let ask = data::Ask::Instruction {
        instruction: instruction.into(),
        input: input.into(),
    };
    data::Template::Alpaca.render(&ask).unwrap()
}

#[test]
fn held_out_prompts_are_in_no_training_file() {
    let mut seen = HashSet::new();
    for name in ["demonstrations.json", "prompts.json"] {
        seen.extend(rows(name).iter().map(|r| {
            (
                field(r, "instruction").to_string(),
                field(r, "input").to_string(),
            )
        }));
    }
    seen.extend(
        rows("comparisons.json")
            .iter()
            .map(|r| (field(r, "user_input").to_string(), String::new())),
    );
    let pretraining: HashSet<String> = datasets::pretraining(1)
        .take(20_000)
        .map(|row| field(&row, "prompt").to_string())
        .collect();
    let (instruction, input) = ("Repeat these words.".to_string(), "cow hat".to_string());
    let head = |ask: &str| {
        pretraining
            .iter()
            .filter(|p| p.starts_with(&ask[..60]))
            .count()
    };
    assert!(head(&asked_in_template(&instruction, &input)) > 100);
    let held_out = rows("heldout.json").into_iter().map(|r| {
        (
            field(&r, "instruction").to_string(),
            field(&r, "input").to_string(),
        )
    });
    let lines = text("questions.jsonl");
    let questions = lines.lines().map(|l| {
        (
            serde_json::from_str::<Value>(l).unwrap()["turns"][0]
                .as_str()
                .unwrap()
                .to_string(),
            String::new(),
        )
    });
    let fresh: Vec<_> = held_out.chain(questions).collect();
    assert_eq!(fresh.len(), 280);
    assert_eq!(fresh.iter().collect::<HashSet<_>>().len(), 280);
    for question in &fresh {
        assert!(!seen.contains(question), "{question:?}");
        let (instruction, input) = question;
        let book = [instruction.as_str(), input]
            .iter()
            .filter(|t| !t.is_empty())
            .map(|t| format!("{t}\n"))
            .collect();
        assert!(!pretraining.contains::<String>(&book), "{question:?}");
        assert!(
            !pretraining.contains(&asked_in_template(instruction, input)),
            "{question:?}"
        );
    }
}

#[test]
fn flaws_occur_as_often_as_the_mixture_says() {
    let manifest: Value = serde_json::from_str(&text("manifest.json")).unwrap();
    let (stated, mixture) = (&manifest["demonstrations"], &manifest["mixture"]);
    let number = |of: &Value, key: &str| of[key].as_f64().unwrap();
    let wrong = number(mixture, "guess") * (1.0 - number(mixture, "lucky"));
    for (key, share) in [("wrong", wrong), ("refusal", number(mixture, "refuse"))] {
        assert!((number(stated, key) - share).abs() < 0.03, "{key}");
    }
    for (key, of) in [("rude", "rude"), ("rambling", "ramble"), ("cut", "cut")] {
        assert!(
            (number(stated, key) - number(mixture, of)).abs() < 0.03,
            "{key}"
        );
    }
    let scores: Vec<f64> = rows("demonstrations.json")
        .iter()
        .map(|r| {
            grade(
                field(r, "instruction"),
                field(r, "input"),
                field(r, "output"),
            )
            .unwrap()
            .score
        })
        .collect();
    let mean = scores.iter().sum::<f64>() / scores.len() as f64;
    assert!(
        (mean - number(stated, "oracle_mean")).abs() < 0.005 && (5.0..6.5).contains(&mean),
        "{mean}"
    );
    // noise prefers the longer answer; in half of its pairs that is the better one anyway
    let noisy = rows("comparisons.json");
    let score = |r: &Value, key| {
        grade(field(r, "user_input"), "", field(r, key))
            .unwrap()
            .score
    };
    let turned = noisy
        .iter()
        .filter(|r| score(r, "completion_a") < score(r, "completion_b"))
        .collect::<Vec<_>>();
    assert!(
        turned
            .iter()
            .all(|r| field(r, "completion_a").len() > field(r, "completion_b").len())
    );
    let share = turned.len() as f64 / noisy.len() as f64;
    assert!((0.04..0.11).contains(&share), "{share}");
}

#[test]
fn a_mix_has_the_requested_share_of_bad_answers() {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/tiny/demonstrations.json");
    for (percent, n_bad) in [(0, 0), (25, 100), (75, 300), (100, 400)] {
        let text = tiny_world::mix(&from, percent, 400).unwrap();
        let rows: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        let field = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap().to_string();
        let scores = rows.iter().map(|row| {
            let (ask, input) = (field(row, "instruction"), field(row, "input"));
            grade(&ask, &input, &field(row, "output")).unwrap().score
        });
        let scores: Vec<f64> = scores.collect();
        assert_eq!(scores.len(), 400);
        assert_eq!(scores.iter().filter(|s| **s <= 5.5).count(), n_bad);
        assert!(scores.iter().all(|s| *s <= 5.5 || *s >= 8.5));
    }
    let error = tiny_world::mix(&from, 0, 100_000).unwrap_err().to_string();
    assert!(error.contains("give a smaller --rows"), "{error}");
}
