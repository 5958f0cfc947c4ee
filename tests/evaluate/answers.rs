//! `wick answers`: reproducible, resumable; a question without room for an answer is reported.

use super::world::{World, refused};
use evaluate::fastchat::{self, QuestionId};
use evaluate::{AnswersConfig, answers};
use std::path::{Path, PathBuf};

/// A world with a policy, and its question file.
fn with_run() -> (World, PathBuf) {
    let world = World::new();
    world.sft("sft", 1);
    let questions = world.questions();
    (world, questions)
}

/// Short answers of that policy.
fn short(world: &World, questions: &Path, out: &str, batch: usize) -> AnswersConfig {
    AnswersConfig {
        max_new_tokens: 10,
        batch,
        ..AnswersConfig::new(&world.text("sft"), questions, &world.path(out))
    }
}

#[test]
fn answers_are_sampled_resumed_and_reproducible() {
    let (world, questions) = with_run();
    let config = |out: &str, batch| short(&world, &questions, out, batch);
    let report = answers(&config("a.jsonl", 16)).unwrap();
    assert_eq!(
        (report.model_id.as_str(), report.already, report.answered),
        ("sft", 0, 2)
    );
    assert_eq!(report.too_long, [QuestionId::Number(3)]);
    assert_eq!(
        report.oracle.map(|sum| (2.0..=20.0).contains(&sum)),
        Some(true)
    );
    let first = fastchat::answers(&world.path("a.jsonl")).unwrap();
    assert_eq!(
        first.iter().map(|a| &a.question_id).collect::<Vec<_>>(),
        [&QuestionId::Number(1), &QuestionId::Number(2)]
    );
    assert!(
        first
            .iter()
            .all(|a| a.model_id == "sft" && a.turns().len() == 1 && a.tstamp > 1.6e9)
    );

    // The same answers with batches of one, and after a kill in the middle of a line.
    let text = std::fs::read_to_string(world.path("a.jsonl")).unwrap();
    let half = text.len() - 20;
    world.write("b.jsonl", &text[..half]);
    let report = answers(&config("b.jsonl", 1)).unwrap();
    assert_eq!((report.already, report.answered), (1, 1));
    let second = fastchat::answers(&world.path("b.jsonl")).unwrap();
    let what = |answers: &[fastchat::Answer]| {
        answers
            .iter()
            .map(|a| (a.answer_id.clone(), a.turns().to_vec()))
            .collect::<Vec<_>>()
    };
    assert_eq!(what(&second), what(&first));
    let report = answers(&config("b.jsonl", 4)).unwrap();
    assert_eq!((report.already, report.answered), (2, 0));
    assert_eq!(fastchat::answers(&world.path("b.jsonl")).unwrap(), second);
}

#[test]
fn existing_answers_must_be_of_the_same_model_and_settings() {
    let (world, questions) = with_run();
    let config = |out: &str, batch| short(&world, &questions, out, batch);
    answers(&config("a.jsonl", 16)).unwrap();
    let before = std::fs::read(world.path("a.jsonl")).unwrap();
    refused(
        answers(&AnswersConfig {
            seed: 2,
            ..config("a.jsonl", 4)
        }),
        "was answered with other weights or settings",
    );
    refused(
        answers(&AnswersConfig {
            temperature: Some(0.3),
            ..config("a.jsonl", 4)
        }),
        "other weights or settings",
    );
    refused(
        answers(&AnswersConfig {
            model_id: Some("m".into()),
            ..config("a.jsonl", 4)
        }),
        "has answers of sft, not of m",
    );
    assert_eq!(std::fs::read(world.path("a.jsonl")).unwrap(), before);
}

#[test]
fn greedy_answers_ignore_category_and_seed() {
    let (world, questions) = with_run();
    let config = |out: &str, batch| short(&world, &questions, out, batch);
    let greedy = |out: &str, seed| {
        answers(&AnswersConfig {
            greedy: true,
            seed,
            ..config(out, 2)
        })
        .unwrap();
        fastchat::answers(&world.path(out))
            .unwrap()
            .iter()
            .map(|a| a.turns().to_vec())
            .collect::<Vec<_>>()
    };
    assert_eq!(greedy("g1.jsonl", 1), greedy("g2.jsonl", 2));
}

#[test]
fn a_plain_model_answers_several_turns() {
    let world = World::new();
    let questions = world.write(
        "q.jsonl",
        "{\"question_id\": \"x\", \"turns\": [\"Copy this list: pine shirt.\", \"Again.\"]}\n",
    );
    let out = world.path("a.jsonl");
    let config = AnswersConfig {
        max_new_tokens: 4,
        model_id: Some("base".into()),
        ..AnswersConfig::new(&world.text("base"), &questions, &out)
    };
    let report = answers(&config).unwrap();
    assert_eq!((report.answered, report.oracle), (1, None));
    assert_eq!(fastchat::answers(&out).unwrap()[0].turns().len(), 2);
}

#[test]
fn bad_input_of_answers_is_refused_before_anything_is_written() {
    let world = World::new();
    world.sft("sft", 1);
    world.reward("rm");
    let questions = world.questions();
    let out = world.path("out.jsonl");
    let config = |run: &str| AnswersConfig::new(run, &questions, &out);
    refused(answers(&config(&world.text("nothing"))), "nothing");
    refused(
        answers(&config(&world.text("rm"))),
        "is a reward model, not a policy",
    );
    refused(
        answers(&AnswersConfig {
            questions: world.path("none.jsonl"),
            ..config(&world.text("sft"))
        }),
        "none.jsonl",
    );
    let wrong = world.write(
        "alpaca.json",
        "[{\"instruction\": \"x\", \"output\": \"y\"}]",
    );
    refused(
        answers(&AnswersConfig {
            questions: wrong,
            ..config(&world.text("sft"))
        }),
        "expected a FastChat question file",
    );
    refused(
        answers(&AnswersConfig {
            out: world.path("sft"),
            ..config(&world.text("sft"))
        }),
        "is a directory",
    );
    refused(
        answers(&AnswersConfig {
            out: world.path("no/out.jsonl"),
            ..config(&world.text("sft"))
        }),
        "does not exist",
    );
    refused(
        answers(&AnswersConfig {
            batch: 0,
            ..config(&world.text("sft"))
        }),
        "--batch 0",
    );
    refused(
        answers(&AnswersConfig {
            temperature: Some(-1.0),
            ..config(&world.text("sft"))
        }),
        "--temperature -1",
    );
    assert!(!out.exists());
}
