//! Rows of one question and its answer: the names that data sets of tasks use, messages as prompt
//! and completion, and KTO's labels.

use super::file;
use crate::common::{chat, instruction};
use data::{Ask, Format, ReadOptions};

/// Question and answer of the rows, or the error after the file's name.
fn demonstrations(rows: &str) -> Result<Vec<(Ask, String)>, String> {
    let (_dir, path) = file("x.jsonl", rows);
    let shown = format!("{}: ", path.display());
    let loaded = data::demonstrations(&path, Format::Auto);
    let loaded = loaded.map_err(|e| e.to_string().replace(&shown, ""))?;
    assert_eq!(loaded.counts.notes, [""; 0], "{rows}");
    let items = loaded.items.into_iter();
    Ok(items.map(|d| (d.prompt.ask, d.response)).collect())
}

/// Question and reference of the rows as prompts, or the error after the file's name.
fn prompts(rows: &str) -> Result<Vec<(Ask, Option<String>)>, String> {
    let (_dir, path) = file("x.jsonl", rows);
    let shown = format!("{}: ", path.display());
    let loaded = data::prompts(&path, Format::Auto);
    let loaded = loaded.map_err(|e| e.to_string().replace(&shown, ""))?;
    let items = loaded.items.into_iter();
    Ok(items.map(|p| (p.ask, p.reference)).collect())
}

#[test]
fn questions_and_answers_go_by_many_names() {
    for (question, answer) in [
        ("question", "answer"),
        ("question", "response"),
        ("problem", "solution"),
        ("query", "response"),
        ("input", "output"),
        ("prompt", "response"),
        ("prompt", "answer"),
    ] {
        let row = format!(r#"{{"{question}": "2 + 2?", "{answer}": "4"}}"#);
        let expected = vec![(instruction("2 + 2?", ""), "4".to_string())];
        assert_eq!(demonstrations(&row), Ok(expected), "{row}");
        let as_prompt = vec![(instruction("2 + 2?", ""), Some("4".to_string()))];
        assert_eq!(prompts(&row), Ok(as_prompt), "{row}");
    }
    let orca = r#"{"system_prompt": "Be kind.", "question": "a", "response": "b"}"#;
    let ask = chat(&[("system", "Be kind."), ("user", "a")]);
    assert_eq!(demonstrations(orca), Ok(vec![(ask, "b".into())]));
    let context = r#"{"question": "Who?", "context": "Ann sings.", "answer": "Ann."}"#;
    let ask = instruction("Who?", "Ann sings.");
    assert_eq!(demonstrations(context), Ok(vec![(ask, "Ann.".into())]));
    let both = "{\"question\": \"a\", \"answer\": \"b\"}\n{\"question\": \"c\"}\n";
    let found = prompts(both).unwrap();
    assert_eq!(found[1], (instruction("c", ""), None));
}

#[test]
fn a_row_with_two_questions_or_two_answers_is_refused() {
    #[track_caller]
    fn check(row: &str, start: &str) {
        let error = demonstrations(row).unwrap_err();
        assert!(error.starts_with(start), "{error}");
    }
    check(
        r#"{"problem": "a", "solution": "b", "answer": "c"}"#,
        "row 1: fields \"answer\", \"solution\" could each be the answer; keep the one",
    );
    check(
        r#"{"question": "a", "input": "b", "answer": "c"}"#,
        "row 1: fields \"question\", \"input\" could each be the question; keep the one",
    );
    let missing = "{\"question\": \"a\", \"answer\": \"b\"}\n{\"question\": \"c\"}\n";
    check(missing, "row 2: field \"answer\" is missing");
    // as prompts the answers do not matter
    let row = r#"{"problem": "a", "solution": "b", "answer": "c"}"#;
    assert_eq!(prompts(row), Ok(vec![(instruction("a", ""), None)]));
    // a prompt beside other questions is a prompt alone, as it has been
    let row = r#"{"prompt": "p", "question": "a", "answer": "c"}"#;
    assert_eq!(prompts(row), Ok(vec![(instruction("p", ""), None)]));
}

#[test]
fn rated_answers_and_choices_are_refused_until_they_are_ignored() {
    let steer = r#"{"prompt": "a", "response": "b", "helpfulness": 0, "verbosity": 4}"#;
    for (row, field, why) in [
        (steer, "helpfulness", "rates the answer"),
        (
            r#"{"question": "a", "choices": ["b", "c"], "answer": "b"}"#,
            "choices",
            "belongs to the question",
        ),
    ] {
        let error = demonstrations(row).unwrap_err();
        let start = format!("row 1: field \"{field}\" {why}");
        assert!(error.starts_with(&start), "{error}");
        let (_dir, path) = file("x.jsonl", row);
        let options = ReadOptions {
            format: Format::Auto,
            ignore: [field, "verbosity"].map(String::from).to_vec(),
            ..ReadOptions::default()
        };
        let loaded = data::demonstrations(&path, options).unwrap();
        assert_eq!(loaded.items[0].response, "b");
    }
    let expected = vec![(instruction("a", ""), Some("b".to_string()))];
    assert_eq!(prompts(steer), Ok(expected));
    let (_dir, path) = file("x.jsonl", steer);
    let error = data::preferences(&path, Format::Auto)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("holds demonstrations (question/answer rows), but this stage needs pairs"),
        "{error}"
    );
}

#[test]
fn prompt_and_completion_may_be_messages() {
    let user = r#"{"role": "user", "content": "a"}"#;
    let answer = r#"{"role": "assistant", "content": "b"}"#;
    let row = |prompt: &str, completion: &str| {
        format!(r#"{{"prompt": {prompt}, "completion": {completion}}}"#)
    };
    let one = chat(&[("user", "a")]);
    for (prompt, completion, ask) in [
        (format!("[{user}]"), format!("[{answer}]"), one.clone()),
        (format!("[{user}]"), "\"b\"".to_string(), one.clone()),
        (format!("[{user}]"), answer.to_string(), one.clone()),
        (
            "\"a\"".to_string(),
            format!("[{answer}]"),
            instruction("a", ""),
        ),
        (
            format!("[{user}]"),
            format!("[{answer}, {user}, {answer}]"),
            chat(&[("user", "a"), ("assistant", "b"), ("user", "a")]),
        ),
    ] {
        let row = row(&prompt, &completion);
        let (_dir, path) = file("x.jsonl", &row);
        let loaded = data::demonstrations(&path, Format::Auto).unwrap();
        let [found] = &loaded.items[..] else { panic!() };
        assert_eq!(
            (&found.prompt.ask, found.response.as_str()),
            (&ask, "b"),
            "{row}"
        );
    }
    let error = demonstrations(&row(&format!("[{user}]"), &format!("[{user}]"))).unwrap_err();
    let end = "row 1: field \"completion\" does not end with an assistant turn";
    assert!(error.starts_with(end), "{error}");
    let error = demonstrations(&row("\"z\"", &format!("[{user}, {answer}]")));
    let begin = "row 1: field \"prompt\" is not what \"completion\" begin with";
    assert!(error.unwrap_err().starts_with(begin));
    // prompts alone
    let alone = format!("{{\"prompt\": [{user}]}}");
    assert_eq!(prompts(&alone), Ok(vec![(one, None)]));
    let answered = prompts(&format!("{{\"prompt\": [{user}, {answer}]}}")).unwrap_err();
    let reason = "none of its rows can be used: prompt that does not end with a user turn (1)";
    assert_eq!(answered, reason);
}

#[test]
fn kto_rows_are_refused_but_as_prompts() {
    let rows = r#"{"prompt": "a", "completion": "b", "label": true}
{"prompt": [{"role": "user", "content": "c"}], "completion": [{"role": "assistant", "content": "d"}], "label": "False"}
{"prompt": "e", "completion": "f", "label": 0}"#;
    let expected = [
        (instruction("a", ""), Some("b".to_string())),
        (chat(&[("user", "c")]), None),
        (instruction("e", ""), None),
    ];
    assert_eq!(prompts(rows), Ok(expected.to_vec()));
    let error = demonstrations(rows).unwrap_err();
    let start = "row 1: field \"label\" says whether the completion is good (KTO), and this stage \
                 would learn the bad ones, too; keep only the rows whose answers are to be learnt, \
                 without the field";
    assert_eq!(error, start);
    let (_dir, path) = file("x.jsonl", rows);
    let error = data::preferences(&path, Format::Auto)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("holds answers with labels (KTO rows), but this"),
        "{error}"
    );
    // a label of another kind
    for label in ["\"sports\"", "2"] {
        let row = format!(r#"{{"prompt": "a", "completion": "b", "label": {label}}}"#);
        for error in [
            prompts(&row).unwrap_err(),
            demonstrations(&row).unwrap_err(),
        ] {
            let what = "row 1: field \"label\" grades or weighs the row, and nothing here reads it";
            assert!(error.starts_with(what), "{error}");
        }
    }
    let later = prompts(&format!("{rows}\n{}", rows.replace("0}", "2}"))).unwrap_err();
    assert!(
        later.starts_with("row 6: field \"label\" says whether"),
        "{later}"
    );
    let both = r#"{"prompt": "a", "completion": "b", "label": true, "desirable": false}"#;
    assert_eq!(prompts(both), Ok(vec![(instruction("a", ""), None)]));
    // LLaMA-Factory's name, with its other shapes
    for row in [
        r#"{"instruction": "a", "output": "b", "kto_tag": false}"#,
        r#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "kto_tag": false}"#,
    ] {
        let error = demonstrations(row).unwrap_err();
        assert!(
            error.starts_with("row 1: field \"kto_tag\" grades or weighs"),
            "{error}"
        );
    }
}
