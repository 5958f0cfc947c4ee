//! Every dataset format, read from literal rows, and the keys of prompts.

use super::file;
use crate::common::{chat, instruction, prompt};
use data::{Ask, Demonstration, Format, Preference, Prompt};
use std::collections::BTreeMap;
use std::path::Path;

fn demonstration(ask: Ask, response: &str) -> Demonstration {
    Demonstration {
        prompt: Prompt::new(ask, Some(response.into())),
        response: response.into(),
        fields: Default::default(),
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

/// The same records are read whether the format is named or detected.
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
        assert_eq!(loaded.counts.dropped, dropped(reasons));
    }
}

#[test]
fn demonstrations_of_every_format_are_read() {
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
        assert_eq!(loaded.counts.dropped, dropped(reasons));
    }
}

#[test]
fn preferences_of_every_format_are_read() {
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

#[test]
fn prompts_of_every_format_come_once_each() {
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
            loaded
                .counts
                .dropped
                .get("repeated prompt")
                .copied()
                .unwrap_or(0),
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

#[test]
fn rows_longer_than_any_context_are_dropped() {
    let long = "b ".repeat(9 << 20);
    let row = |answer: &str| format!(r#"{{"instruction": "a", "output": "{answer}"}}"#);
    let lines = [row("one"), row(&long), row("three")];
    for (name, content) in [
        ("x.jsonl", lines.join("\n")),
        ("x.json", format!("[{}]", lines.join(", "))),
        ("x.txt", format!("one\n{long}\nthree\n")),
    ] {
        let (_dir, path) = file(name, &content);
        let loaded = data::demonstrations(&path, Format::Auto).unwrap();
        let answers: Vec<&str> = loaded.items.iter().map(|d| d.response.as_str()).collect();
        assert_eq!(answers, ["one", "three"], "{name}");
        assert_eq!(loaded.counts.n_rows, 3);
        assert_eq!(loaded.counts.dropped, dropped(&[(row_files::TOO_BIG, 1)]));
        assert_eq!(loaded.counts.sha256(), run::hash(content.as_bytes()));
    }
}

#[test]
fn prompt_keys_are_stable_and_equal_across_formats() {
    let key = |ask: Ask| prompt(ask).key();
    // FNV-1a 64 of "foobar", from the function's published test vectors
    assert_eq!(key(instruction("foobar", "")), 0x8594_4171_f739_67e8);
    assert_eq!(key(instruction("a", "b")), key(instruction("a\n\nb\n", "")));
    assert_eq!(key(instruction("a", "")), key(chat(&[("user", "a")])));
    assert_ne!(
        key(instruction("a", "")),
        key(chat(&[("system", "s"), ("user", "a")]))
    );
    let text = |t: &str| Prompt::new(Ask::Raw(String::new()), Some(t.into())).key();
    assert_ne!(text("one"), text("two"));
}

/// Every format has a file in data/shapes that shows it.
#[test]
fn every_format_has_a_file_of_its_shape() {
    const FORMATS: [Format; 18] = [
        Format::Alpaca,
        Format::PromptCompletion,
        Format::Chat,
        Format::Text,
        Format::ComparisonV1,
        Format::ComparisonV2,
        Format::Hh,
        Format::Pairs,
        Format::Fastchat,
        Format::QuestionAnswer,
        Format::Transcript,
        Format::Kto,
        Format::Ultrafeedback,
        Format::OpenaiPreference,
        Format::Ranked,
        Format::SafeRlhf,
        Format::Shp,
        Format::Arena,
    ];
    for format in FORMATS {
        let (name, n_prompts) = match format {
            Format::Auto | Format::Alpaca => ("alpaca.json", 5),
            Format::PromptCompletion => ("prompt-completion.jsonl", 4),
            Format::Chat => ("messages.jsonl", 5),
            Format::Text => ("text.txt", 0),
            Format::ComparisonV1 => ("comparison-v1.json", 3),
            Format::ComparisonV2 => ("comparison-v2.json", 3),
            Format::Hh => ("hh.jsonl", 3),
            Format::Pairs => ("preference.jsonl", 4),
            Format::Fastchat => ("fastchat.jsonl", 3),
            Format::QuestionAnswer => ("question-answer.jsonl", 3),
            Format::Transcript => ("text-transcripts.jsonl", 3),
            Format::Kto => ("kto.jsonl", 4),
            Format::Ultrafeedback => ("ultrafeedback.jsonl", 3),
            Format::OpenaiPreference => ("openai-preference.jsonl", 3),
            Format::Ranked => ("ranked.jsonl", 3),
            Format::SafeRlhf => ("safe-rlhf.jsonl", 3),
            Format::Shp => ("shp.jsonl", 3),
            Format::Arena => ("arena.jsonl", 3),
        };
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/shapes");
        let path = dir.join(name);
        let given = data::prompts(&path, format);
        if format == Format::Text {
            assert!(given.is_err());
            assert!(
                !data::demonstrations(&path, format)
                    .unwrap()
                    .items
                    .is_empty()
            );
            continue;
        }
        let given = given.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(given.items.len(), n_prompts, "{name}");
        if format != Format::Transcript {
            let found = data::prompts(&path, Format::Auto).unwrap();
            assert_eq!(found.items, given.items, "{name}");
        }
    }
}
