//! OpenAI's form of a content, a list of parts, in every list of turns that a format reads.

use super::contract::{Outcome, read};
use super::samples::{Read, sample};
use data::Format;
use serde_json::{Value, json};

fn turn(role: &str, content: Value) -> Value {
    json!({"role": role, "content": content})
}

/// A row of a format, its records, and where its question is.
struct Case {
    format: Format,
    kind: Read,
    question: &'static str,
    row: Value,
}

/// A row for each list of turns. `content`: the content of a turn that says this.
fn cases(content: impl Fn(&str) -> Value) -> Vec<Case> {
    let user = turn("user", content("Say hi."));
    let [hi, no] = ["Hi.", "No."].map(|text| turn("assistant", content(text)));
    let shared = json!([{"from": "human", "value": content("Say hi.")},
                        {"from": "gpt", "value": content("Hi.")}]);
    let rows = [
        (
            Format::Chat,
            "messages[0].content",
            json!({"messages": [user, hi]}),
        ),
        (
            Format::Chat,
            "conversations[0].value",
            json!({"conversations": shared}),
        ),
        (
            Format::Pairs,
            "prompt[0].content",
            json!({"prompt": [user], "chosen": "Hi.", "rejected": "No."}),
        ),
        (
            Format::Pairs,
            "chosen[0].content",
            json!({"chosen": [user, hi], "rejected": [user, no]}),
        ),
        (
            Format::Alpaca,
            "history[0].content",
            json!({"instruction": "Again.", "output": "Hi.", "history": [user, hi]}),
        ),
    ];
    let case = |(format, question, row)| Case {
        format,
        kind: sample(format).read,
        question,
        row,
    };
    rows.into_iter().map(case).collect()
}

#[test]
fn text_parts_are_joined() {
    // other columns of a table are there, and empty
    let part = |text: &str| json!({"type": "text", "text": text, "image_url": null});
    let parts = |text: &str| {
        let (begin, end) = text.split_at(1);
        json!([part(begin), part(end)])
    };
    for (plain, case) in cases(|text| json!(text)).iter().zip(cases(parts)) {
        for kind in [case.kind, Read::Prompts] {
            let expected = read(case.format, kind, &plain.row, &[]).unwrap();
            let found = read(case.format, kind, &case.row, &[]).unwrap();
            assert_eq!(found, expected, "{}", case.question);
        }
    }
}

/// The error for a question of this content starts so, in every list of turns.
#[track_caller]
fn refused(content: impl Fn(&str) -> Value, what: &str) {
    for case in cases(content) {
        let error = read(case.format, case.kind, &case.row, &[]).unwrap_err();
        let start = format!("/rows.jsonl: row 2: field \"{}{what}", case.question);
        assert!(error.starts_with(&start), "{error}");
    }
}

#[test]
fn parts_that_are_no_text_are_refused_by_their_type() {
    for part in [
        json!({"type": "image_url", "image_url": {"url": "a"}}),
        json!({"type": "input_audio", "input_audio": {}}),
        json!({"type": "refusal", "refusal": "no"}),
        json!({"type": "Text", "text": "a"}),
    ] {
        let kind = part["type"].as_str().unwrap();
        let what = format!(
            "[1]\" is a part of type \"{kind}\", and only text can be learnt; remove such rows or \
             parts; "
        );
        let content = |text: &str| json!([{"type": "text", "text": text}, part]);
        refused(content, &what);
    }
}

#[test]
fn lists_that_are_no_parts_are_refused() {
    for (content, what) in [
        (json!([]), "\" is a list without parts"),
        (json!(["Say hi."]), "[0]\" is a string, not an object"),
        (json!([{"text": "Say hi."}]), "[0].type\" is missing"),
        (json!([{"type": "text"}]), "[0].text\" is missing"),
        (
            json!([{"type": "text", "text": ["a"]}]),
            "[0].text\" is a list, not a string",
        ),
    ] {
        refused(|_| content.clone(), what);
    }
}

#[test]
fn what_a_part_says_beside_its_text_is_named_or_refused() {
    let with = |key: &str, value: Value| -> Result<Outcome, String> {
        let part = json!({"type": "text", "text": "Say hi.", key: value});
        let turns = [turn("user", json!([part])), turn("assistant", json!("Hi."))];
        let row = json!({ "messages": turns });
        read(Format::Chat, Read::Demonstrations, &row, &[])
    };
    let note = "fields that are not used (rows): \"messages[].content[].cache_control\" (1); if that \
                is right, set data.ignore = [\"messages[].content[].cache_control\"]";
    let cached = with("cache_control", json!({"type": "ephemeral"})).unwrap();
    assert_eq!(cached.notes, [note]);
    let error = with("weight", json!(0)).unwrap_err();
    assert!(
        error.contains("row 2: field \"messages[].content[].weight\" grades"),
        "{error}"
    );
}
