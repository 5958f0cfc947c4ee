//! `data`: every dataset format from literal rows, every error line, keys of prompts, and the real files where they are.

use crate::common::{chat, instruction, prompt};
use data::{Ask, Demonstration, Format, Only, Preference, Prompt};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn file(name: &str, content: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, content).unwrap();
    (dir, path)
}

fn demonstration(ask: Ask, response: &str) -> Demonstration {
    Demonstration {
        prompt: Prompt {
            ask,
            reference: Some(response.into()),
        },
        response: response.into(),
    }
}

fn preference(ask: Ask, chosen: &str, rejected: &str) -> Preference {
    Preference {
        prompt: prompt(ask),
        chosen: chosen.into(),
        rejected: rejected.into(),
    }
}

fn dropped(reasons: &[(&str, usize)]) -> BTreeMap<String, usize> {
    reasons
        .iter()
        .map(|(reason, n)| (reason.to_string(), *n))
        .collect()
}

/// Sniffed and named, the file says the same.
#[track_caller]
fn check_demonstrations(
    name: &str,
    content: &str,
    format: Format,
    expected: &[Demonstration],
    reasons: &[(&str, usize)],
) {
    let (_dir, path) = file(name, content);
    for format in [format, Format::Auto] {
        let loaded = data::demonstrations(&path, format).unwrap();
        assert_eq!(loaded.items, expected);
        assert_eq!(loaded.dropped, dropped(reasons));
    }
}

#[track_caller]
fn check_preferences(
    content: &str,
    format: Format,
    expected: &[Preference],
    reasons: &[(&str, usize)],
) {
    let (_dir, path) = file("data.json", content);
    for format in [format, Format::Auto] {
        let loaded = data::preferences(&path, format).unwrap();
        assert_eq!(loaded.items, expected);
        assert_eq!(loaded.dropped, dropped(reasons));
    }
}

#[test]
fn demonstrations_of_every_format() {
    check_demonstrations(
        "alpaca.json",
        r#"[{"instruction": "Add.", "input": "1 + 1", "output": "2"},
            {"instruction": "Say hi.", "output": "Hi."},
            {"instruction": "Say bye.", "input": null, "output": "Bye.\n"},
            {"instruction": "Say nothing.", "input": "", "output": " \n"}]"#,
        Format::Alpaca,
        &[
            demonstration(instruction("Add.", "1 + 1"), "2"),
            demonstration(instruction("Say hi.", ""), "Hi."),
            demonstration(instruction("Say bye.", ""), "Bye.\n"),
        ],
        &[("empty answer", 1)],
    );
    check_demonstrations(
        "pairs.jsonl",
        "\u{feff}{\"prompt\": \"Grüße?\", \"completion\": \" Ja.\"}\r\n\n{\"prompt\": \"2?\", \"completion\": \"3\"}",
        Format::PromptCompletion,
        &[
            demonstration(instruction("Grüße?", ""), " Ja."),
            demonstration(instruction("2?", ""), "3"),
        ],
        &[],
    );
    check_demonstrations(
        "chat.jsonl",
        r#"{"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}]}
{"messages": [{"role": "user", "content": "a"}]}
{"messages": [{"role": "assistant", "content": "b"}]}
{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}"#,
        Format::Chat,
        &[
            demonstration(
                chat(&[
                    ("system", "Be kind."),
                    ("user", "a"),
                    ("assistant", "b"),
                    ("user", "c"),
                ]),
                "d",
            ),
            demonstration(chat(&[("user", "a")]), "b"),
        ],
        &[
            ("conversation that does not end with an assistant turn", 1),
            ("conversation without a user turn before its answer", 1),
        ],
    );
    let lines = [
        demonstration(Ask::Raw(String::new()), "one"),
        demonstration(Ask::Raw(String::new()), " two"),
    ];
    check_demonstrations("text.txt", "one\n\n two\r\n", Format::Text, &lines, &[]);
    check_demonstrations(
        "text.jsonl",
        "{\"text\": \"one\"}\n{\"text\": \" two\"}\n",
        Format::Text,
        &lines,
        &[],
    );
}

#[test]
fn preferences_of_every_format() {
    check_preferences(
        r#"[{"user_input": "Sum up.\n\nA text.", "completion_a": "good", "completion_b": "bad"},
            {"user_input": "q", "completion_a": "same", "completion_b": "same "},
            {"user_input": "q", "completion_a": "good", "completion_b": ""}]"#,
        Format::ComparisonV1,
        &[preference(
            instruction("Sum up.\n\nA text.", ""),
            "good",
            "bad",
        )],
        &[("both answers equal", 1), ("empty answer", 1)],
    );
    check_preferences(
        r#"[{"user_input": "q", "responses_and_scores": [
              {"response": "a", "source": "x", "score": 5}, {"response": "b", "source": "y", "score": "8.5"},
              {"response": "c", "source": "z", "score": 5.0}]},
            {"user_input": "r", "responses_and_scores": [{"response": "a", "score": 1}]}]"#,
        Format::ComparisonV2,
        &[
            preference(instruction("q", ""), "b", "a"),
            preference(instruction("q", ""), "b", "c"),
        ],
        &[
            ("fewer than two responses", 1),
            ("pair with equal scores", 1),
        ],
    );
    check_preferences(
        r#"{"chosen": "\n\nHuman: Hi\n\nthere\n\nAssistant: Hello.\n\nHuman: Bye\n\nAssistant: Take care.", "rejected": "\n\nHuman: Hi\n\nthere\n\nAssistant: Hello.\n\nHuman: Bye\n\nAssistant: Go."}
{"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: c\n\nAssistant: d"}
{"chosen": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c", "rejected": "\n\nHuman: a\n\nAssistant: b\n\nHuman: d"}
{"chosen": "\n\nHuman: a\n\nAssistant: b\n\nAssistant: c", "rejected": "\n\nHuman: a\n\nAssistant: b\n\nAssistant: d"}"#,
        Format::Hh,
        &[preference(
            chat(&[
                ("user", "Hi\n\nthere"),
                ("assistant", "Hello."),
                ("user", "Bye"),
            ]),
            "Take care.",
            "Go.",
        )],
        &[
            ("chosen and rejected with different prompts", 1),
            ("transcript that ends with a Human turn", 1),
            ("transcript without a Human turn before its answer", 1),
        ],
    );
    check_preferences(
        r#"{"prompt": "q", "chosen": "a", "rejected": "b"}
{"prompt": [{"role": "user", "content": "q"}], "chosen": [{"role": "assistant", "content": "a"}], "rejected": "b"}
{"prompt": [{"role": "assistant", "content": "q"}], "chosen": "a", "rejected": "b"}"#,
        Format::Pairs,
        &[
            preference(instruction("q", ""), "a", "b"),
            preference(chat(&[("user", "q")]), "a", "b"),
        ],
        &[("prompt that does not end with a user turn", 1)],
    );
}

/// Prompts come from any format, each question once.
#[test]
fn prompts_of_any_format() {
    #[track_caller]
    fn check(name: &str, content: &str, expected: &[(&str, Option<&str>)], repeated: usize) {
        let (_dir, path) = file(name, content);
        let loaded = data::prompts(&path, Format::Auto).unwrap();
        let found = loaded
            .items
            .iter()
            .map(|p| (p.ask.text(), p.reference.clone()));
        let expected = expected
            .iter()
            .map(|(text, r)| (text.to_string(), r.map(str::to_string)));
        assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        assert_eq!(
            loaded.dropped.get("repeated prompt").copied().unwrap_or(0),
            repeated
        );
    }
    check(
        "alpaca.jsonl",
        r#"{"instruction": "a", "input": "b", "output": "1"}
{"instruction": "a\n\nb", "output": "2"}
{"instruction": "c"}"#,
        &[("a\n\nb", Some("1")), ("c", None)],
        1,
    );
    check(
        "comparison.json",
        r#"[{"user_input": "q", "completion_a": "a", "completion_b": "b"},
            {"user_input": "q", "completion_a": "c", "completion_b": "c"}]"#,
        &[("q", None)],
        1,
    );
    check(
        "comparison2.json",
        r#"[{"user_input": "q", "responses_and_scores": [{"response": "a", "score": 1}, {"response": "b", "score": 1}]}]"#,
        &[("q", None)],
        0,
    );
    check(
        "questions.jsonl",
        r#"{"question_id": 1, "text": "How?", "category": "generic"}
{"question_id": "two", "turns": ["Why?", "And then?"], "category": "generic"}"#,
        &[("How?", None), ("Why?", None)],
        0,
    );
    check("prompts.jsonl", r#"{"prompt": "p"}"#, &[("p", None)], 0);
    check(
        "chat.jsonl",
        r#"{"messages": [{"role": "user", "content": "u"}]}"#,
        &[("u", None)],
        0,
    );
}

#[derive(Clone, Copy)]
enum Read {
    Demonstrations,
    Preferences,
    Prompts,
}

#[test]
fn mistakes_are_one_line_with_file_row_and_field() {
    use Read::*;
    #[track_caller]
    fn check(read: Read, format: Format, name: &str, content: impl AsRef<[u8]>, expected: &str) {
        let (_dir, path) = file(name, content);
        let error = match read {
            Demonstrations => data::demonstrations(&path, format).map(drop).unwrap_err(),
            Preferences => data::preferences(&path, format).map(drop).unwrap_err(),
            Prompts => data::prompts(&path, format).map(drop).unwrap_err(),
        };
        let text = error
            .to_string()
            .replace(path.parent().unwrap().to_str().unwrap(), "data");
        assert_eq!(text, expected);
    }
    let alpaca = "Alpaca rows have instruction, input, output";
    let ok = r#"{"instruction": "a", "output": "b"}"#;
    let expected = "expected a JSON array of objects, or one JSON object a line";

    check(
        Demonstrations,
        Format::Auto,
        "x.json",
        "",
        &format!("data/x.json: is empty; {expected}"),
    );
    check(
        Demonstrations,
        Format::Auto,
        "x.json",
        " \n ",
        &format!("data/x.json: is empty; {expected}"),
    );
    check(
        Demonstrations,
        Format::Auto,
        "x.json",
        "[]",
        "data/x.json: has no rows",
    );
    check(
        Demonstrations,
        Format::Auto,
        "x.txt",
        "\n\n",
        "data/x.txt: has no rows",
    );
    check(
        Demonstrations,
        Format::Auto,
        "x.json",
        b"PAR1\x15\x04",
        &format!("data/x.json: is not JSON; {expected}"),
    );
    check(
        Demonstrations,
        Format::Auto,
        "x.json",
        format!("[{ok}, {ok}, {{\"instruction\": \"a"),
        "data/x.json: row 3: ends in the middle; the file is truncated",
    );
    check(
        Demonstrations,
        Format::Auto,
        "x.json",
        format!("[{ok}"),
        "data/x.json: row 2: ends in the middle; the file is truncated",
    );
    check(
        Demonstrations,
        Format::Auto,
        "x.jsonl",
        format!("{ok}\n{{\"instruction\": \"a"),
        &format!(
            "data/x.jsonl: row 2: ends in the middle; the file is truncated, or not one object a line ({expected})"
        ),
    );
    check(
        Demonstrations,
        Format::Auto,
        "x.jsonl",
        format!("{ok}\n\nnope\n"),
        &format!("data/x.jsonl: row 3: is not JSON: expected ident at line 1 column 2; {expected}"),
    );
    check(
        Demonstrations,
        Format::Auto,
        "x.json",
        format!("[{ok} {ok}]"),
        "data/x.json: row 2: is not JSON: expected `,` or `]` at line 1 column 38",
    );
    check(
        Demonstrations,
        Format::Auto,
        "x.json",
        format!("[{ok}, 7]"),
        "data/x.json: row 2: is a number, not an object with named fields",
    );
    let latin1 =
        |prefix: &str, suffix: &str| [prefix.as_bytes(), b"\xe9", suffix.as_bytes()].concat();
    let bad = "is not UTF-8 text; convert the file to UTF-8";
    check(
        Demonstrations,
        Format::Auto,
        "x.json",
        latin1("[{\"instruction\": \"", "\"}]"),
        &format!("data/x.json: row 1: {bad}"),
    );
    check(
        Demonstrations,
        Format::Auto,
        "x.jsonl",
        latin1(&format!("{ok}\n{{\"instruction\": \""), "\"}"),
        &format!("data/x.jsonl: row 2: {bad}"),
    );
    check(
        Demonstrations,
        Format::Auto,
        "x.txt",
        latin1("one\n", "\n"),
        &format!("data/x.txt: row 2: {bad}"),
    );
    check(
        Demonstrations,
        Format::Auto,
        "x.json",
        format!("[{ok}, {{\"instruction\": \"a\"}}]"),
        &format!("data/x.json: row 2: field \"output\" is missing; {alpaca}"),
    );
    check(
        Demonstrations,
        Format::Alpaca,
        "x.json",
        r#"[{"instruction": ["a"], "output": "b"}]"#,
        &format!("data/x.json: row 1: field \"instruction\" is a list, not a text; {alpaca}"),
    );
    check(
        Prompts,
        Format::Alpaca,
        "x.json",
        r#"[{"instruction": "a", "output": null}]"#,
        &format!("data/x.json: row 1: field \"output\" is null, not a text; {alpaca}"),
    );
    check(
        Demonstrations,
        Format::Chat,
        "x.jsonl",
        r#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant"}]}"#,
        "data/x.jsonl: row 1: field \"messages[1].content\" is missing; chat rows have messages: a list of {role, content}",
    );
    check(
        Demonstrations,
        Format::Chat,
        "x.jsonl",
        r#"{"messages": "hi"}"#,
        "data/x.jsonl: row 1: field \"messages\" is a text, not a list; chat rows have messages: a list of {role, content}",
    );
    let v2 = "comparison (version 2) rows have user_input, responses_and_scores: a list of {response, score}";
    check(
        Preferences,
        Format::Auto,
        "x.json",
        r#"[{"user_input": "q", "responses_and_scores": [{"response": "a", "score": "good"}]}]"#,
        &format!(
            "data/x.json: row 1: field \"responses_and_scores[0].score\" is \"good\", not a number; {v2}"
        ),
    );
    let hh = "HH rows have chosen, rejected: transcripts of \"\\n\\nHuman: …\\n\\nAssistant: …\"";
    check(
        Preferences,
        Format::Auto,
        "x.jsonl",
        r#"{"chosen": "yes", "rejected": "no"}"#,
        &format!(
            "data/x.jsonl: row 1: field \"chosen\" does not begin with \"\\n\\nHuman:\"; {hh}"
        ),
    );
    check(
        Preferences,
        Format::Pairs,
        "x.jsonl",
        r#"{"prompt": "q", "chosen": [{"role": "user", "content": "a"}], "rejected": "b"}"#,
        "data/x.jsonl: row 1: field \"chosen\" does not end with an assistant turn; pairs rows have prompt (a text or messages), chosen, rejected",
    );
    check(
        Prompts,
        Format::Fastchat,
        "x.jsonl",
        r#"{"question_id": 1, "turns": []}"#,
        "data/x.jsonl: row 1: field \"turns\" does not begin with a text; FastChat question rows have question_id, text (or turns), category",
    );
    check(
        Demonstrations,
        Format::Auto,
        "x.json",
        r#"[{"user_input": "q", "completion_a": "a", "completion_b": "b"}]"#,
        "data/x.json: holds preferences (comparison (version 1) rows), but this stage needs prompts with one answer (Alpaca, prompt/completion, chat messages, text)",
    );
    check(
        Preferences,
        Format::Auto,
        "x.json",
        format!("[{ok}]"),
        "data/x.json: holds demonstrations (Alpaca rows), but this stage needs pairs of answers (GPT-4-LLM comparison, HH, prompt/chosen/rejected)",
    );
    check(
        Preferences,
        Format::Auto,
        "x.json",
        r#"[{"user_input": "q", "completion_a": "a", "completion_b": "a"}]"#,
        "data/x.json: none of its 1 rows can be used: 1 both answers equal",
    );
}

#[test]
fn an_unknown_format_says_what_it_looked_for() {
    let (_dir, path) = file("x.json", r#"[{"question": "a", "answer": "b"}]"#);
    let error = data::demonstrations(&path, Format::Auto)
        .unwrap_err()
        .to_string();
    let start = "x.json: row 1: fields question, answer fit no known format; looked for ";
    assert!(error.contains(start), "{error}");
    for format in [
        "Alpaca (instruction, input, output)",
        "HH (chosen, rejected",
        "text (text",
    ] {
        assert!(error.contains(format), "{error}");
    }
    let missing = data::demonstrations(Path::new("no/such.json"), Format::Auto).unwrap_err();
    assert!(
        missing
            .to_string()
            .starts_with("no/such.json: cannot be read: "),
        "{missing}"
    );
    let directory = data::demonstrations(path.parent().unwrap(), Format::Auto).unwrap_err();
    assert!(
        directory
            .to_string()
            .ends_with("is a directory, not a data file"),
        "{directory}"
    );
}

#[test]
fn prompt_keys_are_pinned_and_equal_across_formats() {
    let key = |ask: Ask| prompt(ask).key();
    // FNV-1a 64 of "foobar", from the function's published test vectors
    assert_eq!(key(instruction("foobar", "")), 0x8594_4171_f739_67e8);
    assert_eq!(key(instruction("a", "b")), key(instruction("a\n\nb\n", "")));
    assert_eq!(key(instruction("a", "")), key(chat(&[("user", "a")])));
    assert_ne!(
        key(instruction("a", "")),
        key(chat(&[("system", "s"), ("user", "a")]))
    );
    let text = |t: &str| {
        Prompt {
            ask: Ask::Raw(String::new()),
            reference: Some(t.into()),
        }
        .key()
    };
    assert_ne!(text("one"), text("two"));
}

/// The public files that users have, where `WICK_REAL_DATA` names a folder with them.
#[test]
fn real_files() {
    let Some(dir) = std::env::var_os("WICK_REAL_DATA").map(PathBuf::from) else {
        eprintln!("WICK_REAL_DATA is not set: real files not read");
        return;
    };
    for (name, n) in [("alpaca_gpt4.json", 787), ("alpaca_davinci.json", 2419)] {
        let loaded = data::demonstrations(&dir.join(name), Format::Auto).unwrap();
        loaded.report(&dir.join(name));
        assert_eq!(loaded.n_rows, n);
    }
    for (name, n) in [("comparison_gpt4.json", 6929), ("hh_harmless.jsonl", 1200)] {
        let loaded = data::preferences(&dir.join(name), Format::Auto).unwrap();
        loaded.report(&dir.join(name));
        let longer = loaded
            .items
            .iter()
            .filter(|p| p.chosen.len() > p.rejected.len())
            .count();
        let share = longer as f64 / loaded.items.len() as f64;
        eprintln!("{name}: the longer answer wins {:.1} %", share * 100.0);
        assert_eq!(loaded.n_rows, n);
        data::prompts(&dir.join(name), Format::Auto)
            .unwrap()
            .report(&dir.join(name));
    }
    let questions = data::prompts(&dir.join("vicuna_question_80.jsonl"), Format::Auto).unwrap();
    assert_eq!(questions.items.len(), 80);
}

/// Loads `rows` (Alpaca) with `data.only = pattern`; what is left by its first word, and the count of the others.
fn taken(rows: &str, pattern: &str) -> (Vec<String>, usize) {
    let (_dir, path) = file("only.json", rows);
    let only = Only::try_from(pattern.to_string()).unwrap();
    let loaded = data::demonstrations(&path, Format::Auto).unwrap();
    let n_rows = loaded.n_rows;
    let loaded = loaded.only(&path, Some(&only), |d| &d.prompt).unwrap();
    assert_eq!(loaded.n_rows, n_rows, "the file keeps its size");
    let words = loaded.items.iter().map(|d| d.response.clone());
    let others = loaded.dropped.get("not taken by data.only").copied();
    (words.collect(), others.unwrap_or(0))
}

#[test]
fn only_takes_rows_by_their_instruction() {
    let rows = r#"[
        {"instruction": "Translate this.", "input": "Summarise.", "output": "one"},
        {"instruction": "Please summarise this.", "input": "Translate.", "output": "two"},
        {"instruction": "Say how to translate.", "input": "", "output": "three"}]"#;
    #[track_caller]
    fn check(rows: &str, pattern: &str, words: &[&str], others: usize) {
        let (found, n) = taken(rows, pattern);
        assert_eq!(
            (found, n),
            (words.iter().map(|w| w.to_string()).collect(), others),
            "{pattern}"
        );
    }
    check(rows, "(?i)translate", &["one", "three"], 1);
    check(rows, "^Translate", &["one"], 2);
    check(rows, r"(?i)\bsummar(is|iz)e\b", &["two"], 2);
    check(rows, "", &["one", "two", "three"], 0);
    // Of a chat and of raw text, all text counts.
    let only = Only::try_from("needle".to_string()).unwrap();
    assert!(only.takes(&chat(&[
        ("user", "a needle"),
        ("assistant", "x"),
        ("user", "y")
    ])));
    assert!(only.takes(&Ask::Raw("a needle".into())) && !only.takes(&Ask::Raw("hay".into())));
}

#[test]
fn only_that_takes_nothing_or_is_no_expression_is_one_line() {
    let (_dir, path) = file(
        "only.json",
        r#"[{"instruction": "a", "input": "", "output": "b"}]"#,
    );
    let only = Only::try_from("c".to_string()).unwrap();
    let loaded = data::demonstrations(&path, Format::Auto).unwrap();
    let error = loaded
        .only(&path, Some(&only), |d| &d.prompt)
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("data.only = \"c\" is in none of its 1 instructions"),
        "{error}"
    );
    let error = Only::try_from("(a".to_string()).unwrap_err();
    assert_eq!(error, "\"(a\" is not a regular expression: unclosed group");
}
