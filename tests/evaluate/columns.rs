//! `--columns` names the fields of a file.

use super::world::{World, refused};
use evaluate::fastchat::{self, QuestionId};
use evaluate::{AnswersConfig, CompareConfig, ScoreConfig, answers, compare, score};
use serde_json::json;

#[test]
fn of_the_questions_of_answers() {
    let world = World::new();
    let rows = "{\"question_id\": 7, \"dialogue\": \"Copy this list: pine shirt.\"}\n";
    let questions = world.write("prompts.jsonl", rows);
    let out = world.path("named.jsonl");
    let config = AnswersConfig {
        columns: vec![("prompt".into(), "dialogue".into())],
        max_new_tokens: 4,
        ..AnswersConfig::new(&world.text("base"), &questions, &out)
    };
    assert_eq!(answers(&config).unwrap().answered, 1);
    let answered = &fastchat::answers(&out).unwrap()[0];
    assert_eq!(answered.question_id, QuestionId::Number(7));
    let wrong = AnswersConfig {
        columns: vec![("prompt".into(), "dialog".into())],
        out: Some(world.path("other.jsonl")),
        ..config
    };
    refused(answers(&wrong), "but no row has that field");
}

#[test]
fn of_the_rows_of_score() {
    let world = World::new();
    let write = |name: &str, fields: [&str; 2]| {
        let row = json!({ fields[0]: "Copy this list: pine shirt.", fields[1]: "Owl." });
        world.write(name, &row.to_string())
    };
    let known = write("known.jsonl", ["prompt", "completion"]);
    let other = write("other.jsonl", ["dialogue", "summary"]);
    let named = ScoreConfig {
        columns: vec![
            ("prompt".into(), "dialogue".into()),
            ("completion".into(), "summary".into()),
        ],
        ..ScoreConfig::new(&world.text("base"), &other)
    };
    let expected = score(&ScoreConfig::new(&world.text("base"), &known)).unwrap();
    assert_eq!(score(&named).unwrap(), expected);
}

#[test]
fn of_the_prompts_of_compare() {
    let world = World::new();
    let rows = "{\"dialogue\": \"Copy this list: pine shirt.\"}\n{\"dialogue\": \"One.\"}\n";
    let config = CompareConfig {
        prompts: Some(world.write("prompts.jsonl", rows)),
        columns: vec![("prompt".into(), "dialogue".into())],
        max_new_tokens: Some(4),
        ..CompareConfig::new(&[&world.text("base")], &world.path("compare"))
    };
    assert_eq!(compare(&config).unwrap().prompts, 2);
}
