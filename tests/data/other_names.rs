//! Shapes of other makers, what pandas leaves in a file, and what is said where a stage is given
//! the file of another.

use super::file;
use super::mistakes::{Read, error};
use crate::common::{chat, instruction};
use data::{Ask, Format, Preference};
use serde_json::{Value, json};

fn pairs(row: &Value) -> Result<Vec<Preference>, String> {
    let (_dir, path) = file("x.jsonl", row.to_string());
    let shown = format!("{}: ", path.display());
    let loaded = data::preferences(&path, Format::Auto);
    let loaded = loaded.map_err(|e| e.to_string().replace(&shown, ""))?;
    assert_eq!(loaded.counts.notes, [""; 0], "{row}");
    Ok(loaded.items)
}

fn demonstrations(name: &str, content: &str, format: Format) -> (Vec<(Ask, String)>, Vec<String>) {
    let (_dir, path) = file(name, content);
    let loaded = data::demonstrations(&path, format).unwrap();
    let items = loaded.items.into_iter();
    let items = items.map(|d| (d.prompt.ask, d.response)).collect();
    (items, loaded.counts.notes)
}

#[test]
fn pairs_of_openai_are_read_with_their_tools() {
    let answer = |text: &str| json!([{"role": "assistant", "content": text}]);
    let mut row = json!({
        "input": {
            "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}],
            "tools": [],
            "parallel_tool_calls": true,
        },
        "preferred_output": answer("b"),
        "non_preferred_output": answer("c"),
    });
    let expected = |pair: &Preference| {
        let ask = chat(&[("system", "s"), ("user", "a")]);
        assert_eq!(pair.prompt.ask, ask);
        assert_eq!((&pair.chosen[..], &pair.rejected[..]), ("b", "c"));
    };
    expected(&pairs(&row).unwrap()[0]);
    let tools = json!([{"type": "function", "function": {"name": "search"}}]);
    row["input"]["tools"] = tools.clone();
    let ask = &pairs(&row).unwrap()[0].prompt.ask;
    assert_eq!(Value::from(ask.tools()), tools);
    assert!(ask.text().ends_with("\n\nSystem: s\n\nHuman: a"));
    row["input"]["tools"] = json!([{"type": "function"}]);
    let error = pairs(&row).unwrap_err();
    let start = "row 1: field \"input.tools[0]\" is no tool, {";
    assert!(error.starts_with(start), "{error}");
    row["input"] = json!("a");
    let error = pairs(&row).unwrap_err();
    assert!(
        error.starts_with("row 1: field \"input\" is a string, not an object"),
        "{error}"
    );
    row["input"] = json!({"messages": answer("x")});
    assert!(
        pairs(&row)
            .unwrap_err()
            .contains("none of its rows can be used: prompt")
    );
    // beside turns, it only says how tools are called
    let turns = json!({"messages": [{"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"}], "parallel_tool_calls": false});
    let (items, notes) = demonstrations("x.jsonl", &turns.to_string(), Format::Auto);
    assert_eq!(items[0].1, "b");
    assert!(
        notes.len() == 1 && notes[0].contains("parallel_tool_calls"),
        "{notes:?}"
    );
}

#[test]
fn the_two_answers_go_by_other_names() {
    for [better, worse] in [
        ["chosen_response", "rejected_response"],
        ["response_chosen", "response_rejected"],
        ["accepted", "rejected"],
    ] {
        let row = json!({"prompt": "a", better: "b", worse: "c"});
        let [pair] = &pairs(&row).unwrap()[..] else {
            panic!("{row}");
        };
        assert_eq!(pair.prompt.ask, instruction("a", ""));
        assert_eq!((&pair.chosen[..], &pair.rejected[..]), ("b", "c"), "{row}");
        let row = json!({"instruction": "a", better: "b", worse: "c"});
        assert_eq!(pairs(&row).unwrap().len(), 1, "{row}");
        // sft says what they are
        let sft = error(
            Read::Demonstrations,
            Format::Auto,
            "x.jsonl",
            row.to_string().as_bytes(),
        );
        assert!(
            sft.starts_with("holds preferences (pairs rows), but this stage needs"),
            "{sft}"
        );
        // flags of these names are something else
        let flags = json!({"prompt": "a", "completion": "b", "accepted": true, "rejected": false});
        let (items, _) = demonstrations("x.jsonl", &flags.to_string(), Format::Auto);
        assert_eq!(items[0].1, "b");
    }
    let scored = json!({"prompt": "a", "accepted": "b", "rejected": "c",
        "accepted_score": 1, "rejected_score": 2});
    let error = pairs(&scored).unwrap_err();
    assert!(
        error.contains("\"accepted_score\" is 1, less than \"rejected_score\", 2"),
        "{error}"
    );
}

#[test]
fn fields_of_the_answers_are_named_if_nothing_reads_them() {
    let answer = |score: u8| {
        json!({"response": format!("r{score}"), "overall_score": score, "model": "m",
            "custom_system_prompt": "Be brief.", "principle": "honesty"})
    };
    let row = json!({"instruction": "a", "completions": [answer(2), answer(1)]});
    let (_dir, path) = file("x.jsonl", row.to_string());
    let read = data::preferences(&path, Format::Auto).unwrap();
    let [note] = &read.counts.notes[..] else {
        panic!("{:?}", read.counts.notes);
    };
    for name in ["custom_system_prompt", "model", "principle"] {
        assert!(
            note.contains(&format!("\"completions[].{name}\" (1)")),
            "{note}"
        );
    }
}

#[test]
fn what_follows_the_last_answer_is_left_out_and_counted() {
    let turn = |role: &str, text: &str| json!({"role": role, "content": text});
    let (user, answer) = (turn("user", "a"), turn("assistant", "b"));
    let thanks = turn("user", "Thanks");
    let mut weightless = turn("assistant", "c");
    weightless["weight"] = json!(0);
    for (turns, n) in [
        (json!([user, answer, thanks]), 1),
        (json!([user, answer, thanks, thanks]), 2),
        (json!([user, answer, user, weightless, thanks]), 3),
    ] {
        let row = json!({"messages": turns}).to_string();
        let (items, notes) = demonstrations("x.jsonl", &row, Format::Auto);
        assert_eq!(items, [(chat(&[("user", "a")]), "b".to_string())], "{row}");
        let turns = if n == 1 {
            "1 turn after".into()
        } else {
            format!("{n} turns after")
        };
        assert!(
            notes.len() == 1 && notes[0].starts_with(&turns),
            "{notes:?}"
        );
        // of prompts all turns count
        let (_dir, path) = file("x.jsonl", &row);
        let prompts = data::prompts(&path, Format::Auto).unwrap();
        assert!(prompts.items[0].ask.text().ends_with("Thanks"));
    }
    let text = json!({"text": "### Human: a### Assistant: b### Human: Thanks"}).to_string();
    let (items, notes) = demonstrations("x.jsonl", &text, Format::Transcript);
    assert_eq!((items[0].1.as_str(), notes.len()), ("b", 1));
    // a turn of an unknown role is no such turn
    let row = json!({"messages": [user, answer, turn("judge", "x")]}).to_string();
    let found = error(
        Read::Demonstrations,
        Format::Auto,
        "x.jsonl",
        row.as_bytes(),
    );
    assert!(
        found.contains("a turn of the role \"judge\" (1)"),
        "{found}"
    );
}

#[test]
fn tables_of_pandas_are_refused_with_what_to_write() {
    for table in [
        json!({"prompt": {"0": "a", "1": "b"}, "completion": {"0": "c", "1": "d"}}),
        json!({"0": {"prompt": "a"}, "1": {"prompt": "b"}}),
        json!({"columns": ["prompt"], "index": [0], "data": [["a"]]}),
        json!({"schema": {"fields": []}, "data": [{"prompt": "a"}]}),
        json!({"prompt": ["a", "b"], "completion": ["c", "d"]}),
    ] {
        for read in [Read::Demonstrations, Read::Preferences, Read::Prompts] {
            let found = error(read, Format::Auto, "x.json", table.to_string().as_bytes());
            assert!(found.starts_with("row 1: is a table "), "{found}");
            let remedy = "df.to_json(path, orient='records', lines=True)";
            assert!(found.contains(remedy), "{found}");
        }
    }
}

#[test]
fn texts_of_missing_values_are_counted() {
    let rows = "instruction,input,output,system\na,nan,b,\na,x,NaN,\na,nan,b,NaN\n";
    let (items, notes) = demonstrations("x.csv", rows, Format::Auto);
    assert_eq!(items.len(), 3);
    assert_eq!(items[0].0, instruction("a", "nan"));
    let starts = [
        "2 rows have the text \"nan\" as \"input\", which is used as it stands",
        "1 row has the text \"NaN\" as \"output\", which",
        "1 row has the text \"NaN\" as \"system\", which",
    ];
    assert_eq!(notes.len(), 3, "{notes:?}");
    for (note, start) in notes.iter().zip(starts) {
        assert!(note.starts_with(start), "{note}");
    }
}

#[test]
fn files_of_another_stage_are_named() {
    #[track_caller]
    fn check(read: Read, row: &str, expected: &str) {
        let found = error(read, Format::Auto, "x.jsonl", row.as_bytes());
        assert!(found.contains(expected), "{found}");
    }
    let pairs = ": they look like pairs of answers, which reward-model and dpo learn from";
    let row = r#"{"prompt": "q", "response_a": "a", "response_b": "b", "preferred": "a"}"#;
    check(
        Read::Demonstrations,
        row,
        &format!("fit no format of prompts with one answer{pairs}"),
    );
    check(
        Read::Demonstrations,
        r#"{"ask": "q", "best": "a", "worst": "b"}"#,
        pairs,
    );
    let one = "fit no known format: they look like prompts with one answer, which sft learns from";
    check(Read::Preferences, r#"{"ask": "q", "answer": "a"}"#, one);
    let alone = "fit no format of pairs: they look like prompts alone";
    check(Read::Preferences, r#"{"prompt": "q"}"#, alone);
    let chat =
        r#"{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}"#;
    check(
        Read::Preferences,
        chat,
        "holds demonstrations (ShareGPT rows), but this stage needs",
    );
    let broken = r#"{"conversations": [{"from": "human"}]}"#;
    let fields = "; ShareGPT rows have conversations: a list of {from, value}";
    check(Read::Demonstrations, broken, fields);
    let pair = r#"{"prompt": "q", "chosen": "a", "rejected": "b"}"#;
    check(
        Read::Demonstrations,
        pair,
        "rows of Alpaca, chat (messages, ShareGPT), question",
    );
}

#[test]
fn a_name_of_the_hub_is_named_as_one() {
    for (path, name) in [
        (
            "HuggingFaceH4/ultrafeedback_binarized",
            "HuggingFaceH4/ultrafeedback_binarized",
        ),
        ("openai/gsm8k/main", "openai/gsm8k/main"),
        ("openai/gsm8k/main@v1:train", "openai/gsm8k/main@v1:train"),
        (
            "https://huggingface.co/datasets/openai/gsm8k",
            "openai/gsm8k",
        ),
        ("hf://datasets/openai/gsm8k", "openai/gsm8k"),
    ] {
        let found = data::prompts(path.as_ref(), Format::Auto)
            .unwrap_err()
            .to_string();
        let expected = format!("{path}: no such file; for a data set of the hub write hub:{name}");
        assert_eq!(found, expected);
    }
    for path in [
        "no/such.jsonl",
        "no/such.csv.gz",
        "./no/such",
        "/no/such",
        "such",
    ] {
        let found = data::prompts(path.as_ref(), Format::Auto)
            .unwrap_err()
            .to_string();
        assert!(found.contains("cannot be read"), "{found}");
        assert!(!found.contains("hub:"), "{found}");
    }
}
