//! Shapes of conversations: the fields, keys and roles in use, lists as text, files of two formats.

use super::file;
use crate::common::{chat, instruction};
use data::{Ask, Format, Loaded};
use std::fmt::Debug;

fn shown<T: Debug>(
    path: &std::path::Path,
    read: data::Result<Loaded<T>>,
) -> Result<Loaded<T>, String> {
    let name = format!("{}: ", path.display());
    read.map_err(|e| e.to_string().replace(&name, ""))
}

type Answered = (Ask, String);

/// The questions and answers of the rows, and the notes; or the error after the file's name.
fn read(rows: &str) -> Result<(Vec<Answered>, Vec<String>), String> {
    let (_dir, path) = file("x.jsonl", rows);
    let loaded = shown(&path, data::demonstrations(&path, Format::Auto))?;
    let items = loaded.items.into_iter();
    let name = path.display().to_string();
    let notes = loaded.counts.notes.iter();
    Ok((
        items.map(|d| (d.prompt.ask, d.response)).collect(),
        notes.map(|note| note.replace(&name, "x.jsonl")).collect(),
    ))
}

#[track_caller]
fn check(row: &str, turns: &[(&str, &str)], answer: &str) {
    let expected = (vec![(chat(turns), answer.to_string())], Vec::new());
    assert_eq!(read(row), Ok(expected), "{row}");
}

#[track_caller]
fn refused(rows: &str, start: &str) {
    let error = read(rows).unwrap_err();
    assert!(error.starts_with(start), "{error}");
}

#[test]
fn conversations_stand_in_many_fields() {
    for field in [
        "messages",
        "conversations",
        "conversation",
        "dialog",
        "dialogue",
        "items",
    ] {
        for keys in [
            ["role", "content"],
            ["from", "value"],
            ["From", "Value"],
            ["ROLE", "Text"],
        ] {
            let turn = |role: &str, text: &str| {
                let [role_key, text_key] = keys;
                format!(r#"{{"{role_key}": "{role}", "{text_key}": "{text}"}}"#)
            };
            let turns = [turn("system", "s"), turn("Human", "a"), turn("GPT", "b")];
            let row = format!(r#"{{"{field}": [{}]}}"#, turns.join(", "));
            check(&row, &[("system", "s"), ("user", "a")], "b");
        }
    }
    // UltraChat repeats the first question; another prompt is named
    let row = r#"{"prompt": "a ", "prompt_id": "7", "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}"#;
    check(row, &[("user", "a")], "b");
    let (_, notes) = read(&row.replace("a ", "other")).unwrap();
    assert!(
        notes[0].contains("not used (rows): \"prompt\" (1)"),
        "{notes:?}"
    );
}

#[test]
fn the_names_of_speakers_in_use_are_known() {
    for user in ["user", "human", "User", "HUMAN", "prompter"] {
        for assistant in [
            "assistant",
            "gpt",
            "chatgpt",
            "bing",
            "bard",
            "model",
            "bot",
            "chatbot",
            "claude",
            "AI",
            "gpt-4",
            "Claude-2",
        ] {
            let row = format!(
                r#"{{"conversations": [{{"from": "{user}", "value": "a"}}, {{"from": "{assistant}", "value": "b"}}]}}"#
            );
            check(&row, &[("user", "a")], "b");
        }
    }
    let developer = r#"{"messages": [{"role": "developer", "content": "s"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}"#;
    check(developer, &[("system", "s"), ("user", "a")], "b");
}

#[test]
fn an_answer_of_weight_zero_is_not_learnt_and_of_weight_one_is_a_turn() {
    let row = |weight: &str| {
        format!(
            r#"{{"messages": [{{"role": "user", "content": "a"}}, {{"role": "assistant", "content": "b", "weight": {weight}}}]}}"#
        )
    };
    check(&row("1"), &[("user", "a")], "b");
    check(&row("1.0"), &[("user", "a")], "b");
    // SlimOrca weighs every turn
    let all = r#"{"conversations": [{"from": "system", "value": "s", "weight": null}, {"from": "human", "value": "a", "weight": 0.0}, {"from": "gpt", "value": "b", "weight": 1.0}]}"#;
    check(all, &[("system", "s"), ("user", "a")], "b");
    let user = all.replace("0.0", "1");
    refused(&user, "row 1: field \"conversations[].weight\" grades");
    refused(
        &row("0.5"),
        "row 1: field \"messages[].weight\" grades or weighs the row",
    );
    let nothing = "none of its rows can be used: answer of weight 0 (1)";
    refused(&row("0"), nothing);
    let completion =
        r#"{"prompt": "a", "completion": [{"role": "assistant", "content": "b", "weight": 0}]}"#;
    refused(completion, nothing);
    // what follows the last answer that is learnt is left out
    let later = row("1").replace(
        "]}",
        r#", {"role": "user", "content": "c"}, {"role": "assistant", "content": "d", "weight": 0}]}"#,
    );
    let (found, notes) = read(&later).unwrap();
    assert_eq!(found, [(chat(&[("user", "a")]), "b".to_string())]);
    let note = "2 turns after the last answer that is learnt are left out";
    assert_eq!(notes, [note]);
    let (_dir, path) = file("x.jsonl", &later);
    let Loaded { items, counts } = data::prompts(&path, Format::Auto).unwrap();
    let turns = [("user", "a"), ("assistant", "b"), ("user", "c")];
    assert_eq!((&items[0].ask, &items[0].reference), (&chat(&turns), &None));
    let note = "1 prompt has no reference: the weight of the answer is 0";
    assert_eq!(counts.notes, [note]);
}

#[test]
fn a_list_may_be_a_text_of_json_but_not_of_python() {
    #[track_caller]
    fn check(field: &str, row: &str) {
        let note = format!(
            "fields that hold turns or lists as text of JSON (rows): {field:?} (2; first: x.jsonl: \
             row 1); they are read as such"
        );
        let found = (chat(&[("user", "a")]), "b".to_string());
        let expected = (vec![found.clone(), found], vec![note]);
        assert_eq!(read(&format!("{row}\n{row}")), Ok(expected), "{row}");
    }
    let json = r#"[{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \"b\"}]"#;
    for field in ["messages", "conversations", "conversation"] {
        check(field, &format!(r#"{{"{field}": "{json}"}}"#));
    }
    let user = r#"[{\"role\": \"user\", \"content\": \"a\"}]"#;
    check(
        "prompt",
        &format!(r#"{{"prompt": "{user}", "completion": "b"}}"#),
    );
    let row = r#"{"instruction": "c", "output": "d", "history": "[[\"a\", \"b\"]]"}"#;
    let (found, _) = read(row).unwrap();
    assert_eq!(
        found[0].0,
        chat(&[("user", "a"), ("assistant", "b"), ("user", "c")])
    );
    let python = "is text as Python prints a list, not JSON; write the column by json.dumps";
    for (row, field) in [
        (
            r#"{"messages": "[{'role': 'user', 'content': 'a'}]"}"#,
            "messages",
        ),
        (
            r#"{"conversation": "[{'from': 'human', 'value': 'a'}\n {'from': 'gpt', 'value': 'b'}]"}"#,
            "conversation",
        ),
        (
            r#"{"prompt": "[{'content': 'a', 'role': 'user'}]", "completion": "b"}"#,
            "prompt",
        ),
    ] {
        refused(row, &format!("row 1: field \"{field}\" {python}"));
    }
    let broken = r#"{"messages": "[{\"role\": \"user\", \"content\"]"}"#;
    refused(
        broken,
        "row 1: field \"messages\" is text that is not JSON: expected `:` at column",
    );
    let twice = r#"{"messages": "[{\"role\": \"user\", \"role\": \"system\"}]"}"#;
    refused(
        twice,
        "row 1: field \"messages\" is text that has the key \"role\" twice",
    );
    // a text that is no list of turns stays a text
    let list = r#"{"prompt": "[{\"a\": 1}]", "completion": "[1, 2]"}"#;
    let (found, _) = read(list).unwrap();
    assert_eq!(
        found,
        [(instruction("[{\"a\": 1}]", ""), "[1, 2]".to_string())]
    );
}

#[test]
fn a_row_of_another_format_than_the_files_is_named() {
    let alpaca = r#"{"instruction": "a", "output": "b"}"#;
    let messages = r#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}"#;
    let question = r#"{"question": "a", "answer": "b"}"#;
    let end = "; if it is of another format, write it into a file of its own";
    for (one, other, start) in [
        (
            alpaca,
            messages,
            "row 3: field \"instruction\" is missing: the row has messages, and the file is read as \
             Alpaca rows (instruction, input, output)",
        ),
        (
            messages,
            alpaca,
            "row 3: field \"messages\" is missing: the row has instruction, output, and the file is \
             read as chat rows (",
        ),
        (
            question,
            messages,
            "row 3: field \"question\" is missing: the row has messages, and the file is read as \
             question/answer rows (",
        ),
    ] {
        let error = read(&format!("{one}\n{one}\n{other}\n")).unwrap_err();
        assert!(error.starts_with(start) && error.ends_with(end), "{error}");
    }
    let pairs = r#"{"prompt": "a", "chosen": "b", "rejected": "c"}"#;
    let hh =
        r#"{"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"}"#;
    let (_dir, path) = file("x.jsonl", format!("{pairs}\n{hh}\n"));
    let error = shown(&path, data::preferences(&path, Format::Auto)).unwrap_err();
    let start = "row 2: field \"prompt\" is missing: the row has chosen, rejected, and the file";
    assert!(error.starts_with(start), "{error}");
}
