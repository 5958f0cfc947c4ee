//! The crate `row-files`: what a row may hold.

use super::containers::{error, read};
use super::file;
use crate::common::again_in_a_child;
use std::ops::ControlFlow;
use std::path::Path;

/// A row takes memory by its values, not by its text.
#[test]
fn a_row_of_too_many_values_is_skipped_and_counted() {
    // with the list and the row itself
    let most = row_files::MAX_ROW_VALUES - 2;
    let row = |n: usize| format!("{{\"a\": [{}0]}}", "0,".repeat(n - 1));
    let nested = format!("{{\"a\": [{}{{}}]}}", r#"{"":0},"#.repeat(most / 2));
    for (name, content) in [
        (
            "x.jsonl",
            [row(most), row(most + 1), nested.clone(), row(1)].join("\n"),
        ),
        (
            "x.json",
            format!(
                "[{}]",
                [row(most), row(most + 1), nested, row(1)].join(",\n")
            ),
        ),
    ] {
        let (_dir, path) = file(name, &content);
        let (rows, whole) = read(&path).unwrap();
        let lengths = rows.iter().map(|(number, row)| {
            let list = row["a"].as_array().map_or(0, Vec::len);
            (*number, list)
        });
        assert_eq!(lengths.collect::<Vec<_>>(), [(1, most), (4, 1)], "{name}");
        assert_eq!(whole.n_too_big, 2, "{name}");
        assert_eq!(whole.sha256, Some(run::hash(content.as_bytes())));
    }
    // what is beyond the limit is JSON all the same
    let cut = row(most + 1).replace("0]}", "0,]}");
    let (_dir, path) = file("x.jsonl", cut);
    let text = read(&path).unwrap_err().to_string();
    assert!(text.contains("row 1: is not JSON: "), "{text}");
    let columns = (0..=row_files::MAX_ROW_VALUES).map(|i| i.to_string());
    let header = columns.collect::<Vec<_>>().join(",");
    assert_eq!(
        error("x.csv", header + "\n"),
        "the header has 1000001 columns, more than a million; leave columns out"
    );
}

/// Lists take most for their text, objects with a field most for each value.
#[test]
fn a_row_of_tiny_values_takes_bounded_memory() {
    const ROWS: &str = "ROWS_OF_TINY_VALUES";
    if let Some(path) = std::env::var_os(ROWS) {
        let whole = row_files::for_each_row(Path::new(&path), &[], &mut |_, _| {
            Ok::<_, row_files::Error>(ControlFlow::Continue(()))
        });
        let n_too_big = whole.unwrap().n_too_big;
        let megabytes = run::peak_memory_bytes() / 1_000_000;
        println!("{n_too_big} skipped, {megabytes} MB");
        assert!(megabytes < 400, "{megabytes} MB");
        return;
    }
    for item in ["0,", r#"{"":0},"#, r#"{"a":""},"#] {
        let n_items = (row_files::MAX_ROW_BYTES - 100) / item.len();
        let row = |n: usize| format!("{{\"a\": [{}0]}}\n", item.repeat(n));
        // the longest row, and one that is read
        let most = match item {
            "0," => row_files::MAX_ROW_VALUES - 10,
            _ => row_files::MAX_ROW_VALUES / 2 - 10,
        };
        let (_dir, path) = file("x.jsonl", row(n_items) + &row(most));
        let output = again_in_a_child([(ROWS, &path)]);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            said.contains("1 passed") && said.contains("1 skipped"),
            "{said}"
        );
    }
}
