//! `data.columns`: the file's names of the fields that readers know.

use super::file;
use crate::common::instruction;
use data::{Ask, Format, ReadOptions};
use std::ops::ControlFlow;

fn options(columns: &[(&str, &str)], ignore: &[&str]) -> ReadOptions {
    let columns = columns.iter();
    ReadOptions {
        columns: columns
            .map(|(ours, theirs)| (ours.to_string(), theirs.to_string()))
            .collect(),
        ignore: ignore.iter().map(ToString::to_string).collect(),
        ..ReadOptions::default()
    }
}

/// Questions and answers, or the error after the file's name.
fn read(rows: &str, options: ReadOptions) -> Result<Vec<(Ask, String)>, String> {
    let (_dir, path) = file("x.jsonl", rows);
    let shown = format!("{}: ", path.display());
    let loaded = data::demonstrations(&path, options);
    let loaded = loaded.map_err(|e| e.to_string().replace(&shown, ""))?;
    assert_eq!(loaded.counts.notes, [""; 0], "{rows}");
    let items = loaded.items.into_iter();
    Ok(items.map(|d| (d.prompt.ask, d.response)).collect())
}

const ROW: &str = r#"{"dialogue": "a", "summary": "b"}"#;
const BOTH: [(&str, &str); 2] = [("prompt", "dialogue"), ("completion", "summary")];

#[test]
fn fields_are_read_under_the_names_that_readers_know() {
    let expected = Ok(vec![(instruction("a", ""), "b".to_string())]);
    assert_eq!(read(ROW, options(&BOTH, &[])), expected);
    // into any shape, and a name that is ours already
    let alpaca = [("instruction", "dialogue"), ("output", "summary")];
    assert_eq!(read(ROW, options(&alpaca, &[])), expected);
    let row = r#"{"prompt": "a", "summary": "b"}"#;
    let same = [("prompt", "prompt"), ("completion", "summary")];
    assert_eq!(read(row, options(&same, &[])), expected);
    // two that change places
    let swapped = r#"{"completion": "a", "prompt": "b"}"#;
    let swap = [("prompt", "completion"), ("completion", "prompt")];
    assert_eq!(read(swapped, options(&swap, &[])), expected);
    // an optional field that some rows have not
    let rows = format!(
        "{ROW}\n{}\n",
        r#"{"dialogue": "a", "summary": "b", "who": "s"}"#
    );
    let three = [
        ("prompt", "dialogue"),
        ("completion", "summary"),
        ("system", "who"),
    ];
    assert_eq!(read(&rows, options(&three, &[])).unwrap().len(), 2);
    // the field of our name is left out
    let row = r#"{"dialogue": "a", "summary": "b", "prompt": "Summarise."}"#;
    assert_eq!(read(row, options(&BOTH, &["prompt"])), expected);
    // tables, and the lines of a text
    let (_dir, path) = file("x.csv", "dialogue,summary\na,b\n");
    let loaded = data::demonstrations(&path, options(&BOTH, &[])).unwrap();
    assert_eq!(loaded.items[0].response, "b");
    let (_dir, path) = file("x.txt", "one\ntwo\n");
    let loaded = data::prompts(&path, options(&[("prompt", "text")], &[])).unwrap();
    assert_eq!(loaded.items[1].ask, instruction("two", ""));
}

#[test]
fn columns_that_cannot_be_read_are_refused() {
    #[track_caller]
    fn check(rows: &str, columns: &[(&str, &str)], ignore: &[&str], expected: &str) {
        assert_eq!(read(rows, options(columns, ignore)).unwrap_err(), expected);
    }
    let wrong = [("prompt", "dialogue"), ("completion", "sumary")];
    let no_row = "data.columns reads \"completion\" from \"sumary\", but no row has that field; \
                  the first row has dialogue, summary";
    check(ROW, &wrong, &[], no_row);
    let extra = [BOTH[0], BOTH[1], ("system", "persona")];
    let no_row = "data.columns reads \"system\" from \"persona\", but no row has that field; \
                  the first row has dialogue, summary";
    check(&format!("{ROW}\n{ROW}"), &extra, &[], no_row);
    let taken = r#"{"dialogue": "a", "summary": "b", "prompt": "c"}"#;
    let error = "row 2: has a field \"prompt\", and data.columns reads \"prompt\" from \
                 \"dialogue\"; remove it from data.columns, or set data.ignore = [\"prompt\"]";
    check(&format!("{ROW}\n{taken}"), &BOTH, &[], error);
    let error = "data.columns reads \"completion\" and \"prompt\" from \"dialogue\"; a field of \
                 the file can have one name";
    let twice = [("prompt", "dialogue"), ("completion", "dialogue")];
    check(ROW, &twice, &[], error);
    let error = "data.ignore leaves out \"summary\", which data.columns reads as \"completion\"; \
                 remove it from one of them";
    check(ROW, &BOTH, &["summary"], error);
    // the fault of a later row is its own
    let rows = format!("{ROW}\n{}", r#"{"dialogue": "a"}"#);
    let error = read(&rows, options(&BOTH, &[])).unwrap_err();
    assert!(
        error.starts_with("row 2: field \"completion\" is missing"),
        "{error}"
    );
}

#[test]
fn a_report_reads_the_same_rows() {
    let (_dir, path) = file("x.jsonl", ROW);
    let mut found = Vec::new();
    data::each_row(&path, &options(&BOTH, &[]), &mut |row| {
        found.extend(row.demonstrations.records);
        assert_eq!(
            row.object.keys().collect::<Vec<_>>(),
            ["prompt", "completion"]
        );
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    assert_eq!(
        found,
        data::demonstrations(&path, options(&BOTH, &[]))
            .unwrap()
            .items
    );
    let wrong = options(&[("prompt", "text")], &[]);
    let read = data::each_row(&path, &wrong, &mut |_| Ok(ControlFlow::Continue(())));
    assert!(
        read.unwrap_err()
            .to_string()
            .contains("but no row has that field")
    );
    assert_eq!(
        data::demonstrations(&path, Format::Auto)
            .unwrap_err()
            .to_string()
            .lines()
            .count(),
        1
    );
}

#[test]
fn an_option_of_columns_names_each_once() {
    let given = ["prompt=dialogue", "completion=a = b"].map(|text| data::column(text).unwrap());
    let columns = data::columns(&given).unwrap();
    let expected = [("completion", "a = b"), ("prompt", "dialogue")];
    assert_eq!(
        columns.into_iter().collect::<Vec<_>>(),
        expected.map(|(ours, theirs)| (ours.to_string(), theirs.to_string()))
    );
    for wrong in ["prompt", "=a", "prompt="] {
        let error = data::column(wrong).unwrap_err().to_string();
        assert!(error.starts_with("expected NAME=FIELD"), "{error}");
    }
    let twice = ["prompt=a", "prompt=b"].map(|text| data::column(text).unwrap());
    assert_eq!(
        data::columns(&twice).unwrap_err().to_string(),
        "--columns reads \"prompt\" from \"a\" and from \"b\"; give one of them"
    );
}
