//! The files of `wick judge`: references, turns, several choices, the same model twice, and a table
//! that is there already.

use super::judge_server::{JudgeServer, Play};
use super::world::refused;
use crate::common::again_in_a_child;
use evaluate::fastchat;
use evaluate::judge::{Judge, JudgeCommand, judge, judge_with};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

fn write(dir: &Path, name: &str, rows: &[Value]) -> PathBuf {
    let file = dir.join(name);
    let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
    std::fs::write(&file, text).unwrap();
    file
}

fn answer(id: u64, model: &str, turns: &[&str]) -> Value {
    json!({"question_id": id, "answer_id": "x", "model_id": model, "tstamp": 0.0,
        "choices": [{"index": 0, "turns": turns}]})
}

/// The text that the judge was shown in each request.
fn shown(server: &JudgeServer) -> Vec<String> {
    let requests = server.requests.lock().unwrap();
    let text = |body: &Value| body["messages"][1]["content"].as_str().unwrap().to_string();
    requests.iter().map(|(body, _)| text(body)).collect()
}

#[test]
fn a_judge_sees_the_reference_answers_of_a_question() {
    let dir = tempfile::tempdir().unwrap();
    let questions = write(
        dir.path(),
        "questions.jsonl",
        &[
            json!({"question_id": 1, "category": "math", "turns": ["2 + 2?", "Twice that?"],
                "reference": ["", "It is eight."]}),
            json!({"question_id": 2, "category": "math", "text": "3 + 3?", "reference": "Six."}),
            json!({"question_id": 3, "category": "writing", "text": "A line, please.",
                "reference": []}),
        ],
    );
    let rows = |model: &str| {
        let rows = [
            answer(1, model, &["Four.", &format!("Eight, says {model}.")]),
            answer(2, model, &[&format!("Six, says {model}.")]),
            answer(3, model, &[&format!("A line of {model}.")]),
        ];
        write(dir.path(), &format!("{model}.jsonl"), &rows)
    };
    let models = ["a", "b"].map(|model| {
        let answers = fastchat::answers(&rows(model)).unwrap();
        (model.to_string(), answers)
    });
    let server = JudgeServer::new(|user, _| match user.contains("ANSWER B") {
        true => Play::Say("[[C]]"),
        false => Play::Say("[[8]]"),
    });
    let questions = fastchat::questions(&questions).unwrap();
    let mut judge = Judge::open(server.config(), &dir.path().join("v.jsonl")).unwrap();
    judge_with(&mut judge, &questions, &models, 1).unwrap();
    let shown = shown(&server);
    assert_eq!(shown.len(), 12, "6 ratings, 3 pairs in both orders");
    for text in shown {
        let first = text.find("REFERENCE ANSWER >>>");
        let answers = text.find("<<< ANSWER").unwrap();
        assert_eq!(first.is_none(), text.contains("A line, please."), "{text}");
        assert!(first.is_none_or(|first| first < answers), "{text}");
        let reference = [
            "Twice that?\n<<< REFERENCE ANSWER >>>\nIt is eight.\n",
            "3 + 3?\n<<< REFERENCE ANSWER >>>\nSix.\n",
        ];
        let n = reference.iter().filter(|r| text.contains(**r)).count();
        assert_eq!(n, usize::from(first.is_some()), "{text}");
        assert!(!text.contains("2 + 2?\n<<< REFERENCE"), "{text}");
    }
    for (reference, expected) in [
        (
            json!(["a", "b"]),
            "reference has 2 texts, and the question 1 turn",
        ),
        (json!(7), "reference must be a text or a list of texts"),
        (json!([7]), "reference must be a list of texts"),
    ] {
        let row = json!({"question_id": 1, "text": "2 + 2?", "reference": reference});
        refused(
            fastchat::questions(&write(dir.path(), "bad.jsonl", &[row])),
            expected,
        );
    }
}

#[test]
fn an_answer_with_fewer_or_more_turns_than_its_question_is_not_scored() {
    let dir = tempfile::tempdir().unwrap();
    let questions = write(
        dir.path(),
        "questions.jsonl",
        &[
            json!({"question_id": 1, "turns": ["First?", "Second?"]}),
            json!({"question_id": 2, "turns": ["Only?"]}),
            json!({"question_id": 3, "turns": ["Last?"]}),
        ],
    );
    let part = [
        answer(1, "part", &["One."]),
        answer(2, "part", &["One.", "Two."]),
        answer(3, "part", &["One."]),
    ];
    let whole = [
        answer(1, "whole", &["First.", "Second."]),
        answer(2, "whole", &["Only."]),
        answer(3, "whole", &["Last."]),
    ];
    let models = [("whole", whole), ("part", part)].map(|(name, rows)| {
        let file = write(dir.path(), &format!("{name}.jsonl"), &rows);
        (name.to_string(), fastchat::answers(&file).unwrap())
    });
    let server = JudgeServer::new(|user, _| match user.contains("ANSWER B") {
        true => Play::Say("[[C]]"),
        false => Play::Say("[[9]]"),
    });
    let questions = fastchat::questions(&questions).unwrap();
    let mut judge = Judge::open(server.config(), &dir.path().join("v.jsonl")).unwrap();
    let report = judge_with(&mut judge, &questions, &models, 1).unwrap();
    let totals: Vec<_> = report.rows.iter().map(|row| &row.total).collect();
    assert_eq!((totals[0].judged, totals[0].missing), (3, 0));
    assert_eq!((totals[1].judged, totals[1].missing), (1, 2));
    assert_eq!((totals[1].sum, totals[1].mean()), (9.0, None));
    let pairs = report.rows[1].pairs.as_ref().unwrap();
    assert_eq!(
        pairs.wins.unwrap().ties,
        1,
        "the one that both answered whole"
    );
    assert_eq!(server.n_requests(), 3 + 1 + 2);
}

/// What makes all answers useless is said before the judge is asked.
#[test]
fn a_file_without_an_answer_that_counts_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let questions = [
        json!({"question_id": 1, "turns": ["First?", "Second?"]}),
        json!({"question_id": 2, "turns": ["Only?"]}),
    ];
    let questions = write(dir.path(), "questions.jsonl", &questions);
    let questions = fastchat::questions(&questions).unwrap();
    let whole = [
        answer(1, "whole", &["One.", "Two."]),
        answer(2, "whole", &["One."]),
    ];
    let turns = "has no answer with as many turns as its question (the first: question ";
    let remedy = "); give the question file that was answered, or answer these questions with \
                  `wick answers`";
    for (rows, expected) in [
        (
            vec![answer(7, "m", &["x"]), answer(1, "m", &["One."])],
            format!("m {turns}1 has 2 turns, its answer 1 turn{remedy}"),
        ),
        (
            vec![answer(2, "m", &[]), answer(1, "m", &["One."])],
            format!("m {turns}2 has 1 turn, its answer 0 turns{remedy}"),
        ),
        (
            vec![answer(7, "m", &["x"])],
            "m answers none of the questions; is it the right question file?".to_string(),
        ),
    ] {
        let models = [("whole", whole.to_vec()), ("m", rows)].map(|(name, rows)| {
            let file = write(dir.path(), &format!("{name}.jsonl"), &rows);
            (name.to_string(), fastchat::answers(&file).unwrap())
        });
        let server = JudgeServer::new(|_, _| Play::Say("[[9]]"));
        let mut judge = Judge::open(server.config(), &dir.path().join("v.jsonl")).unwrap();
        let error = judge_with(&mut judge, &questions, &models, 1).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(server.n_requests(), 0);
    }
}

/// The command as a whole, which reads its judge from the environment.
#[test]
fn a_table_of_other_answers_is_replaced_only_by_force() {
    const CHILD: &str = "WICK_JUDGE_URL";
    let Some(_) = std::env::var_os("JUDGED_FILES_TEST_CHILD") else {
        let server = JudgeServer::new(|user, _| match user.contains("ANSWER B") {
            true => Play::Say("[[C]]"),
            false => Play::Say("[[9]]"),
        });
        let output = again_in_a_child([
            ("JUDGED_FILES_TEST_CHILD", "1".to_string()),
            (CHILD, server.config().url),
            ("WICK_JUDGE_MODEL", "model-j".to_string()),
        ]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{text}");
        for line in [
            "m: 1 of 2 answers have another number of turns than their question (the first: \
             question 2, 2 instead of 1); they count as missing",
            "several.jsonl: 1 of 1 lines have several choices; the first is used",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let one = json!({"question_id": 1, "text": "2 + 2?"});
    let two = json!({"question_id": 2, "text": "3 + 3?"});
    let questions = write(dir.path(), "questions.jsonl", &[one, two]);
    let rows = [
        answer(1, "m", &["Four."]),
        answer(2, "m", &["Six.", "More."]),
    ];
    let first = write(dir.path(), "first.jsonl", &rows);
    let other = write(dir.path(), "other.jsonl", &[answer(1, "m", &["Five."])]);
    let mut several = answer(1, "n", &["Four."]);
    let choice = json!({"index": 1, "turns": ["Five."]});
    several["choices"].as_array_mut().unwrap().push(choice);
    let several = write(dir.path(), "several.jsonl", &[several]);
    let out = dir.path().join("out");
    let command = |answers: &[&PathBuf], force| {
        judge(&JudgeCommand {
            answers: answers.iter().map(|path| path.to_path_buf()).collect(),
            questions: questions.clone(),
            out: out.clone(),
            force,
            seed: 1,
        })
    };
    refused(
        command(&[&first, &first], false),
        "first.jsonl is given twice",
    );
    assert!(!out.exists());
    // Two files of one model are told apart.
    let table = command(&[&first, &other], false).unwrap();
    assert!(
        table.contains("m (") && table.contains("other.jsonl)"),
        "{table}"
    );
    let stored = || std::fs::read(out.join("judge.json")).unwrap();
    let before = stored();
    assert_eq!(
        command(&[&first, &other], false).unwrap(),
        table,
        "continued"
    );
    assert_eq!(stored(), before);
    let why = "is the table of other answers or questions";
    refused(command(&[&several], false), why);
    assert_eq!(stored(), before);
    let table = command(&[&several], true).unwrap();
    assert!(table.contains("| n |"), "{table}");
    refused(command(&[&first, &other], false), why);
    std::fs::write(out.join("judge.json"), "{").unwrap();
    refused(command(&[&first, &other], false), "judge.json is damaged");
}
