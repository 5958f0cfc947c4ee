//! What no reader may do in silence: every format against every kind of field that it does not
//! know, value of a wrong type, and text that belongs elsewhere. A new format must name a row here.

use super::file;
use super::samples::{Read, Sample, sample};
use super::tokens::encoder;
use crate::common::chat;
use data::{Format, Loaded, ReadOptions, Template};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Debug;

/// All formats, by the names that settings know.
fn formats() -> Vec<Format> {
    let error = serde_json::from_value::<Format>("no such format".into()).unwrap_err();
    let error = error.to_string();
    let (_, names) = error.split_once("one of").unwrap();
    let names = names.split('`').skip(1).step_by(2);
    let formats = names.map(|name| serde_json::from_value(name.into()).unwrap());
    let formats: Vec<Format> = formats.collect();
    assert!(formats.len() >= 10, "{error}");
    formats
}

/// What reading says: the records as text, the rows dropped, the notes.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    pub items: String,
    dropped: BTreeMap<String, usize>,
    pub notes: Vec<String>,
}

fn outcome<T: Debug>(loaded: data::Result<Loaded<T>>) -> Result<Outcome, String> {
    let loaded = loaded.map_err(|e| e.to_string())?;
    Ok(Outcome {
        items: format!("{:?}", loaded.items),
        dropped: loaded.counts.dropped,
        notes: loaded.counts.notes,
    })
}

/// Reads a row of the format and then `row`. The text of the first differs, so both count as
/// prompts.
pub fn read(format: Format, read: Read, row: &Value, ignore: &[&str]) -> Result<Outcome, String> {
    let Sample { row: good, .. } = sample(format);
    let good = good.to_string().replace("Say hi.", "Say ho.");
    let (_dir, path) = file("rows.jsonl", format!("{good}\n{row}\n"));
    let options = ReadOptions {
        format,
        ignore: ignore.iter().map(ToString::to_string).collect(),
        ..ReadOptions::default()
    };
    let result = match read {
        Read::Demonstrations => outcome(data::demonstrations(&path, options)),
        Read::Preferences => outcome(data::preferences(&path, options)),
        Read::Prompts => outcome(data::prompts(&path, options)),
    };
    // two runs differ in their folder
    let dir = format!("{:?}", path.parent().unwrap());
    let dir = dir.trim_matches('"');
    result.map_err(|e| e.replace(dir, "")).map(|o| Outcome {
        items: o.items.replace(dir, ""),
        notes: o.notes.iter().map(|note| note.replace(dir, "")).collect(),
        ..o
    })
}

/// Each format with its own records and, where it holds prompts, as prompts.
fn each(check: impl Fn(Format, Read, Sample)) {
    for format in formats() {
        let own = sample(format).read;
        check(format, own, sample(format));
        if own != Read::Prompts && format != Format::Text {
            check(format, Read::Prompts, sample(format));
        }
    }
}

fn with(row: &Value, field: &str, value: &Value) -> Value {
    let mut row = row.clone();
    row[field] = value.clone();
    row
}

#[test]
fn a_field_that_nothing_reads_is_named_until_it_is_ignored() {
    each(|format, kind, sample| {
        let plain = read(format, kind, &sample.row, &[]).unwrap();
        assert_eq!(plain.notes, [""; 0], "{format:?}");
        for value in [
            json!("x"),
            json!(5),
            json!(false),
            json!([1]),
            json!({"a": "b"}),
        ] {
            let row = with(&sample.row, "remark", &value);
            let found = read(format, kind, &row, &[]).unwrap();
            assert_eq!(found.items, plain.items, "{format:?} {value}");
            let note = "fields that are not used (rows): \"remark\" (1); if that is right, set \
                        data.ignore = [\"remark\"]";
            assert_eq!(found.notes, [note], "{format:?} {value}");
            let ignored = read(format, kind, &row, &["remark", "no such field"]).unwrap();
            assert_eq!(ignored, plain, "{format:?} {value}");
        }
        let says_nothing = [
            json!(null),
            json!(""),
            json!(" \n"),
            json!("[]"),
            json!([]),
            json!({}),
            json!([null, ""]),
        ];
        for value in &says_nothing {
            for field in ["remark", "label", "tools", "system", "history"] {
                if sample.row.get(field).is_some() {
                    continue;
                }
                let row = with(&sample.row, field, value);
                let found = read(format, kind, &row, &[]).unwrap();
                assert_eq!(found, plain, "{format:?} {field} {value}");
            }
        }
    });
}

#[test]
fn a_field_that_changes_what_a_row_means_is_an_error_until_it_is_ignored() {
    let fields = [
        ("label", json!(false)),
        ("label", json!(true)),
        ("labels", json!("bad")),
        ("label", json!("False")),
        ("score", json!(1)),
        ("score_of_judge", json!("3.5")),
        ("weight", json!(0)),
        ("margin", json!(5)),
        ("rating", json!("4")),
        ("reward", json!(-1.5)),
        ("isPreferred", json!(false)),
        ("tool_calls", json!([{"name": "search"}])),
        ("functions", json!({"name": "search"})),
        ("images", json!(["a.png"])),
    ];
    each(|format, kind, sample| {
        let plain = read(format, kind, &sample.row, &[]).unwrap();
        for (field, value) in &fields {
            if sample.row.get(field).is_some() {
                continue; // what the format itself reads
            }
            let row = with(&sample.row, field, value);
            let error = read(format, kind, &row, &[]).unwrap_err();
            let start = format!("/rows.jsonl: row 2: field \"{field}\" ");
            assert!(error.starts_with(&start), "{format:?}: {error}");
            // to pass over what an answer is worth is never the advice
            let is_context = ["tool_calls", "functions", "images"].contains(field);
            let remedy = format!("data.ignore = [\"{field}\"]");
            assert_eq!(error.contains(&remedy), is_context, "{format:?}: {error}");
            let keep = "; keep only the rows whose answers are to be learnt, without the field";
            assert_eq!(error.ends_with(keep), !is_context, "{format:?}: {error}");
            let ignored = read(format, kind, &row, &[field]).unwrap();
            let found = (&ignored.items, &ignored.dropped);
            assert_eq!(found, (&plain.items, &plain.dropped), "{format:?} {field}");
            let is_good = is_context || value == &json!(true);
            let of_prompt = kind == Read::Prompts; // said where the answer is a reference
            let named = ignored.notes.iter().any(|note| note.contains(field));
            assert!(
                named != is_good || of_prompt,
                "{format:?} {field} {value}: {ignored:?}"
            );
        }
    });
}

#[test]
fn tools_are_given_to_the_template_or_refused() {
    each(|format, kind, sample| {
        let plain = read(format, kind, &sample.row, &[]).unwrap();
        for value in [
            json!([{"name": "search"}]),
            json!("[{\"name\": \"search\"}]"),
        ] {
            let row = with(&sample.row, "tools", &value);
            match read(format, kind, &row, &[]) {
                Ok(found) => assert!(found.items.contains("search"), "{format:?}: {found:?}"),
                Err(error) => {
                    assert_eq!(format, Format::Text);
                    let start = "/rows.jsonl: row 2: field \"tools\" belongs to the prompt";
                    assert!(error.starts_with(start), "{format:?}: {error}");
                }
            }
            assert_eq!(read(format, kind, &row, &["tools"]).unwrap(), plain);
        }
        let row = with(&sample.row, "tools", &json!(["hammer"]));
        let error = read(format, kind, &row, &[]).unwrap_err();
        assert!(error.contains("data.ignore = [\"tools\"]"), "{error}");
    });
}

#[test]
fn fields_of_turns_and_answers_are_checked_too() {
    let (chat, scored) = (sample(Format::Chat), sample(Format::ComparisonV2));
    let turn = |key: &str, value: Value| {
        let mut row = chat.row.clone();
        row["messages"][1][key] = value;
        read(Format::Chat, chat.read, &row, &[])
    };
    let note = |name: &str| {
        format!(
            "fields that are not used (rows): \"{name}\" (1); if that is right, set data.ignore = \
             [\"{name}\"]"
        )
    };
    let named = turn("name", json!("Ann")).unwrap();
    assert_eq!(named.notes, [note("messages[].name")]);
    for (key, value, field) in [
        ("weight", json!(0.5), "messages[].weight"),
        (
            "tool_calls",
            json!([{"id": 1}]),
            "messages[1].tool_calls[0]",
        ),
        ("image", json!("a.png"), "messages[].image"),
    ] {
        let error = turn(key, value).unwrap_err();
        assert!(
            error.contains(&format!("row 2: field \"{field}\"")),
            "{error}"
        );
    }
    let mut row = scored.row.clone();
    row["responses_and_scores"][1]["model"] = json!("m");
    let found = read(Format::ComparisonV2, scored.read, &row, &[]).unwrap();
    assert_eq!(found.notes, [note("responses_and_scores[].model")]);
    for ignore in ["responses_and_scores[].model", "model"] {
        let found = read(Format::ComparisonV2, scored.read, &row, &[ignore]).unwrap();
        assert_eq!(found.notes, [""; 0]);
    }
}

#[test]
fn a_text_of_a_wrong_type_or_none_is_an_error_or_a_dropped_row() {
    each(|format, kind, sample| {
        for pointer in sample.texts {
            for value in [json!(7), json!(true), json!(null), json!([]), json!({})] {
                let mut row = sample.row.clone();
                *row.pointer_mut(pointer).unwrap() = value.clone();
                let what = format!("{format:?} as {kind:?}: {pointer} = {value}");
                let field = pointer.split('/').nth(1).unwrap();
                match read(format, kind, &row, &[]) {
                    Err(error) => {
                        assert!(error.contains("row 2: field"), "{what}: {error}");
                        assert!(error.contains(field), "{what}: {error}");
                    }
                    Ok(found) => assert_eq!(found.dropped.len(), 1, "{what}: {found:?}"),
                }
            }
        }
    });
}

#[test]
fn system_prompts_and_history_are_read_or_named() {
    let history = json!([["Who are you?", "A parrot."]]);
    each(|format, kind, sample| {
        for (field, value, text) in [
            ("system", json!("Be kind."), "Be kind."),
            ("system_prompt", json!("Be kind."), "Be kind."),
            ("history", history.clone(), "A parrot."),
        ] {
            if sample.row.get(field).is_some() {
                continue;
            }
            let row = with(&sample.row, field, &value);
            let found = read(format, kind, &row, &[]).unwrap();
            let named = found.notes.iter().any(|note| note.contains(field));
            let reads = found.items.contains(text);
            assert!(reads != named, "{format:?} {field}: {found:?}");
            let reads_system = format != Format::Text;
            assert!(
                reads == (reads_system && (field != "history" || found.items.contains("Who are"))),
                "{format:?} {field}: {found:?}"
            );
        }
    });
}

/// What encoding the records of a row says, under this template.
fn encoding_notes(format: Format, read: Read, row: &Value, template: Template) -> Vec<String> {
    let (_dir, path) = file("rows.jsonl", format!("{row}\n"));
    let encoder = encoder(template, false);
    match read {
        Read::Demonstrations => {
            for d in data::demonstrations(&path, format).unwrap().items {
                encoder.example(&d.prompt, &d.response).unwrap();
            }
        }
        Read::Preferences => {
            for p in data::preferences(&path, format).unwrap().items {
                encoder.example(&p.prompt, &p.chosen).unwrap();
                encoder.example(&p.prompt, &p.rejected).unwrap();
            }
        }
        Read::Prompts => {
            for prompt in data::prompts(&path, format).unwrap().items {
                encoder.prompt(&prompt).unwrap();
            }
        }
    }
    let dir = path.parent().unwrap().to_str().unwrap();
    let notes = encoder.row_notes("training").into_iter();
    notes.map(|note| note.replace(dir, "")).collect()
}

#[test]
fn transcripts_in_a_prompt_are_read_as_conversations_and_marks_are_named() {
    let transcript = "\n\nHuman: Hi.\n\nAssistant: Ho.\n\nHuman: Bye.\n\nAssistant:";
    let marked = [
        "### Instruction:\nSay hi.\n\n### Response:",
        "<|im_start|>user\nSay hi.<|im_end|>",
        "[INST] Say hi. [/INST]",
        "<|start_header_id|>user<|end_header_id|>",
        "<start_of_turn>user\nSay hi.",
        "USER: Say hi.\nASSISTANT: Hi.\nUSER: Again.",
        "Human: Say hi.\nAssistant:",
        "Say hi.</s>",
    ];
    each(|format, kind, sample| {
        use Format::{Arena, Hh, Text, Transcript};
        if matches!(format, Text | Hh | Transcript | Arena) {
            return; // raw text, transcripts as such, and a prompt that stands there twice
        }
        let prompt = sample.texts[0];
        let plain = encoding_notes(format, kind, &sample.row, Template::Alpaca);
        assert_eq!(plain, [""; 0], "{format:?}");
        let mut row = sample.row.clone();
        *row.pointer_mut(prompt).unwrap() = transcript.into();
        let found = read(format, kind, &row, &[]).unwrap();
        if !matches!(format, Format::Chat | Format::OpenaiPreference) {
            let turns = chat(&[("user", "Hi."), ("assistant", "Ho."), ("user", "Bye.")]);
            let turns = format!("{turns:?}");
            assert!(found.items.contains(&turns), "{format:?}: {}", found.items);
        }
        for text in marked {
            *row.pointer_mut(prompt).unwrap() = text.into();
            let notes = encoding_notes(format, kind, &row, Template::Alpaca);
            let start =
                "training rows: special tokens or marks of a ready-made prompt in 1 prompt (";
            let [note] = &notes[..] else {
                panic!("{format:?} {text}: {notes:?}");
            };
            assert!(note.starts_with(start), "{note}");
            assert!(note.contains("first: /rows.jsonl: row 1"), "{note}");
            assert!(note.contains("set model.template = \"raw\""), "{note}");
            // the advice was followed
            let raw = encoding_notes(format, kind, &row, Template::Raw);
            assert_eq!(raw, [""; 0], "{format:?} {text}");
        }
        if kind == Read::Prompts {
            return;
        }
        for (text, mark) in [("Hi.\n\nHuman: Bye.", "Human:"), ("Hi.</s> Ho.", "</s>")] {
            let mut row = sample.row.clone();
            *row.pointer_mut(sample.texts[1]).unwrap() = text.into();
            let notes = encoding_notes(format, kind, &row, Template::Alpaca);
            let start = format!(
                "training rows: special tokens or marks of another turn in 1 answer ({mark:?} 1; \
                 first: /rows.jsonl: row 1) are learnt as text"
            );
            assert!(
                notes.len() == 1 && notes[0].starts_with(&start),
                "{notes:?}"
            );
        }
    });
}
