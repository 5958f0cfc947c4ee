//! `data.only`: rows by a regular expression.

use super::file;
use crate::common::chat;
use data::{Ask, Counts, Demonstration, Format, Only, ReadOptions};
use std::collections::HashSet;
use std::path::Path;

/// The responses that `only` takes.
fn read(path: &Path, only: &Only) -> data::Result<(Vec<String>, Counts)> {
    let (options, mut seen) = (ReadOptions::default(), HashSet::new());
    let mut words = Vec::new();
    let counts = data::for_each(
        path,
        &options,
        Some(only),
        &mut seen,
        &mut |row: Demonstration| {
            words.push(row.response);
            Ok(true)
        },
    )?;
    counts.require(&path.display(), Some(only))?;
    Ok((words, counts))
}

/// The responses of Alpaca `rows` that `data.only = pattern` takes, and the number of other rows.
fn taken(rows: &str, pattern: &str) -> (Vec<String>, usize) {
    let (_dir, path) = file("only.json", rows);
    let only = Only::try_from(pattern.to_string()).unwrap();
    let n_rows = data::demonstrations(&path, Format::Auto)
        .unwrap()
        .counts
        .n_rows;
    let (words, counts) = read(&path, &only).unwrap();
    assert_eq!(counts.n_rows, n_rows, "rows of the file, taken or not");
    let others = counts.dropped.get("not matched by data.only").copied();
    (words, others.unwrap_or(0))
}

#[test]
fn rows_are_taken_by_their_instruction() {
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
    // chats and raw text are searched in full
    let only = Only::try_from("needle".to_string()).unwrap();
    assert!(only.takes(&chat(&[
        ("user", "a needle"),
        ("assistant", "x"),
        ("user", "y")
    ])));
    assert!(only.takes(&Ask::Raw("a needle".into())) && !only.takes(&Ask::Raw("hay".into())));
}

#[test]
fn a_pattern_without_matches_or_an_invalid_one_is_an_error() {
    let (_dir, path) = file(
        "only.json",
        r#"[{"instruction": "a", "input": "", "output": "b"}]"#,
    );
    let only = Only::try_from("c".to_string()).unwrap();
    let error = read(&path, &only).unwrap_err().to_string();
    assert!(
        error.ends_with("data.only = \"c\" matches none of its 1 instructions"),
        "{error}"
    );
    let error = Only::try_from("(a".to_string()).unwrap_err();
    assert_eq!(error, "\"(a\" is not a regular expression: unclosed group");
}
