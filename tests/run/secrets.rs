//! Keys are in nothing that is printed or stored, whatever field they came by.

use super::{json_of, settings};
use run::Run;
use serde_json::json;
use std::fs;

const KEY: &str = "q7Xk2vB9-registered-4711";

#[test]
fn keys_are_cut_out_of_text() {
    run::hide(KEY);
    for (text, expected) in [
        (
            "you sent Authorization: Bearer abcdef0123456789.",
            "you sent Authorization: Bearer (hidden)",
        ),
        ("key sk-SECRET0123456789 end", "key (hidden) end"),
        (
            "key sk-ant-api03-abcdefghijkl_mn-op end",
            "key (hidden) end",
        ),
        ("hf_abcdefghijklmnopqrst", "(hidden)"),
        ("https://me:pass@host/v1", "https://(hidden)@host/v1"),
        (
            "https://host/v1?auth=abc&n=3",
            "https://host/v1?auth=(hidden)&n=3",
        ),
        ("https://host/#token=abc", "https://host/#token=(hidden)"),
        (
            "https://host/v1?api_key=abc",
            "https://host/v1?api_key=(hidden)",
        ),
        (
            "http://host/sk-abcdefghijkl1234/v1",
            "http://host/(hidden)/v1",
        ),
        ("it was q7Xk2vB9-registered-4711!", "it was (hidden)!"),
        // words and paths that only look alike
        ("the bearer of bad news", "the bearer of bad news"),
        ("data/sk-learn/rows.json", "data/sk-learn/rows.json"),
        (
            "me@host.org, see http://host/a@b",
            "me@host.org, see http://host/a@b",
        ),
        (
            "max_tokens=3 and a token = 5",
            "max_tokens=3 and a token = 5",
        ),
    ] {
        assert_eq!(run::redact(text), expected);
    }
}

#[test]
fn what_a_run_writes_has_no_key() {
    run::hide(KEY);
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("r");
    let mut run = Run::create(&dir, "sft", &settings(0.1, 1)).unwrap();
    let said = format!("it said Bearer abcdef0123456789 and {KEY}");
    run.record("server", json!({ "said": [said] })).unwrap();
    run.sample(1, &said).unwrap();
    run.failed(1, &json!({ "why": said })).unwrap();
    drop(run);
    let hidden = "it said Bearer (hidden) and (hidden)";
    assert_eq!(json_of(dir.join("run.json"))["server"]["said"][0], hidden);
    assert_eq!(json_of(dir.join("failed/step-000001.json"))["why"], hidden);
    let sample = fs::read_to_string(dir.join("samples/step-000001.md")).unwrap();
    assert_eq!(sample, hidden);
    assert!(run::open_saved_run(&dir).unwrap().is_some());
}

#[test]
fn foreign_text_cannot_drive_a_terminal() {
    let text = "a\u{1b}]0;title\u{7}b\r\nerror: forged\u{202e}";
    let line = "a\\u{1b}]0;title\\u{7}b error: forged\\u{202e}";
    assert_eq!(run::printable(text), line);
}
