//! What the examples of a report show as learnt, without a model.

use super::{file, inspected};

/// The learnt pieces of the first example.
fn learnt(line: &str) -> Vec<String> {
    let report = inspected(line).unwrap();
    let pieces = report.examples[0].sequences[0].pieces.iter();
    let learnt = pieces.filter(|piece| piece.is_learnt);
    learnt.map(|piece| piece.text.clone()).collect()
}

#[test]
fn only_answers_that_are_learnt_are_shown_as_such() {
    let turn = |role: &str, text: &str, more: &str| {
        format!(r#"{{"role": "{role}", "content": "{text}"{more}}}"#)
    };
    let turns = [
        turn("assistant", "greeting", ""),
        turn("user", "a", ""),
        turn("assistant", "weightless", r#", "weight": 0"#),
        turn("user", "b", ""),
        turn("assistant", " ", ""),
        turn("user", "c", ""),
        turn("assistant", "early", ""),
        turn("assistant", "second", ""),
        turn("user", "d", ""),
        turn("assistant", "last", ""),
    ];
    let row = format!(r#"{{"messages": [{}]}}"#, turns.join(", "));
    let (_dir, path) = file("rows.jsonl", row);
    assert_eq!(learnt(&path), ["greeting", "early", "second", "last"]);
    assert_eq!(learnt(&format!("{path} --train-on last")), ["last"]);
}

#[test]
fn the_blank_after_the_mark_of_a_speaker_is_not_learnt() {
    let row = r#"{"prompt": "\n\nHuman: 7 × 8?\n\nAssistant:", "completion": "  56 "}"#;
    let (_dir, path) = file("rows.jsonl", row);
    assert_eq!(learnt(&path), ["56"]);
}
