//! `data.ignore`: an ignored field is no part of its row, and one that says that an answer is bad
//! is counted where the answer is learnt.

use super::file;
use crate::common::{chat, instruction};
use data::{Ask, Format, Loaded, Prompt, ReadOptions};

fn options(ignore: &[&str]) -> ReadOptions {
    ReadOptions {
        ignore: ignore.iter().map(ToString::to_string).collect(),
        ..ReadOptions::default()
    }
}

type Found = Result<(Vec<(Ask, String)>, Vec<String>), String>;

/// Questions, answers and notes, or the error after the file's name.
fn read(rows: &str, ignore: &[&str]) -> Found {
    let (_dir, path) = file("x.jsonl", rows);
    let shown = format!("{}: ", path.display());
    let loaded = data::demonstrations(&path, options(ignore));
    let loaded = loaded.map_err(|e| e.to_string().replace(&shown, ""))?;
    let items = loaded.items.into_iter();
    let items = items.map(|d| (d.prompt.ask, d.response)).collect();
    Ok((items, loaded.counts.notes))
}

fn prompts(rows: &str, ignore: &[&str]) -> Loaded<Prompt> {
    let (_dir, path) = file("x.jsonl", rows);
    data::prompts(&path, options(ignore)).unwrap()
}

#[test]
fn an_ignored_field_is_no_candidate() {
    #[track_caller]
    fn check(row: &str, ignore: &[&str], ask: Ask) {
        let expected = (vec![(ask, "b".to_string())], Vec::new());
        assert_eq!(read(row, ignore), Ok(expected), "{row}");
    }
    let a = || instruction("a", "");
    let math = r#"{"problem": "a", "solution": "So it is b.", "answer": "b"}"#;
    check(math, &["solution"], a());
    let error = read(math, &[]).unwrap_err();
    assert!(
        error.contains("data.ignore = [\"solution\"] leaves \"answer\""),
        "{error}"
    );
    check(
        r#"{"question": "a", "input": "z", "answer": "b"}"#,
        &["input"],
        a(),
    );
    let row = r#"{"instruction": "a", "input": "z", "context": "y", "output": "b"}"#;
    check(row, &["input", "context"], a());
    check(row, &["context"], instruction("a", "z"));
    let error = read(row, &[]).unwrap_err();
    assert!(
        error.contains("or set data.ignore = [\"context\"]"),
        "{error}"
    );
    let row = r#"{"instruction": "a", "output": "z", "response": "b"}"#;
    check(row, &["output"], a());
    check(
        r#"{"prompt": "a", "completion": "b", "instruction": "z"}"#,
        &["instruction"],
        a(),
    );
    let turns = r#"[{"role": "user", "content": "z"}, {"role": "assistant", "content": "y"}]"#;
    let row = format!(r#"{{"problem": "a", "solution": "b", "messages": {turns}}}"#);
    check(&row, &["messages"], a());
    let row = r#"{"prompt": "a", "completion": "b", "system": "s", "system_prompt": "t"}"#;
    check(row, &["system"], chat(&[("system", "t"), ("user", "a")]));
    check(row, &["system", "system_prompt"], a());
    let error = read(math, &["solution", "answer"]).unwrap_err();
    let expected = "row 1: fields problem (data.ignore = [\"solution\", \"answer\"]) fit no known";
    assert!(error.starts_with(expected), "{error}");
    let error = read(r#"{"instruction": "a", "output": "b"}"#, &["output"]).unwrap_err();
    let expected = "row 1: field \"output\" is needed, and data.ignore leaves it out";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn prompts_with_two_answers_have_no_reference_and_are_counted() {
    for rows in [
        r#"{"problem": "a", "solution": "b", "answer": "c"}"#,
        r#"{"instruction": "a", "output": "b", "response": "c"}"#,
    ] {
        let two = format!("{rows}\n{}", rows.replace("\"a\"", "\"d\""));
        let found = prompts(&two, &[]);
        assert!(found.items.iter().all(|p| p.reference.is_none()));
        let [note] = &found.counts.notes[..] else {
            panic!("{:?}", found.counts.notes);
        };
        let start = "2 rows have two or more fields that could be the answer (\"";
        assert!(note.starts_with(start), "{note}");
        let ignore = if rows.contains("problem") {
            "solution"
        } else {
            "response"
        };
        let end = format!("have no reference; data.ignore = [\"{ignore}\"] leaves one");
        assert!(note.ends_with(&end), "{note}");
        let found = prompts(&two, &[ignore]);
        assert!(found.items[0].has_reference());
        assert_eq!(found.counts.notes, [""; 0]);
    }
}

#[test]
fn bad_answers_that_are_learnt_are_counted() {
    let pair = |label: &str| format!(r#"{{"prompt": "a", "completion": "b", "label": {label}}}"#);
    let labels = ["true", "false", "\"False\"", "\"true\"", "false"];
    let rows: Vec<String> = labels.iter().map(|label| pair(label)).collect();
    let (items, notes) = read(&rows.join("\n"), &["label"]).unwrap();
    assert_eq!(items.len(), 5);
    let note = "3 rows whose \"label\" is false are learnt, too: data.ignore names it; remove such \
                rows if their answers are bad";
    assert_eq!(notes, [note]);
    assert_eq!(read(&pair("true"), &["label"]).unwrap().1, [""; 0]);
    // as prompts, bad answers are no references
    let found = prompts(&rows[1..3].join("\n"), &["label"]);
    assert!(found.items.iter().all(|p| p.reference.is_none()));
    assert_eq!(found.counts.notes, [""; 0]);
    #[track_caller]
    fn check(row: &str, ignore: &str, expected: &str) {
        let (items, notes) = read(row, &[ignore]).unwrap();
        assert_eq!((items.len(), notes.len()), (1, 1), "{notes:?}");
        assert!(notes[0].starts_with(expected), "{notes:?}");
    }
    let tagged = r#"{"instruction": "a", "output": "b", "kto_tag": 0}"#;
    check(
        tagged,
        "kto_tag",
        "1 row whose \"kto_tag\" is 0 is learnt, too",
    );
    let steer = r#"{"prompt": "a", "response": "b", "helpfulness": 0}"#;
    let whatever = "1 row is learnt, whatever \"helpfulness\" says of the answer";
    check(steer, "helpfulness", whatever);
    let rated = r#"{"question": "a", "answer": "b", "rating": "4.5"}"#;
    check(
        rated,
        "rating",
        "1 row is learnt, whatever \"rating\" says of the answer",
    );
    let turns = r#"{"messages": [{"role": "user", "content": "a"},
        {"role": "assistant", "content": "b", "weight": 0}]}"#
        .replace('\n', "");
    let error = read(&turns, &[]).unwrap_err();
    assert!(error.ends_with("answer of weight 0 (1)"), "{error}");
    check(
        &turns,
        "messages[].weight",
        "1 row whose \"messages[].weight\" is 0 is learnt, too",
    );
    let (_dir, path) = file("x.jsonl", steer);
    let error = data::demonstrations(&path, Format::Auto)
        .unwrap_err()
        .to_string();
    assert!(!error.contains("data.ignore"), "{error}");
}
