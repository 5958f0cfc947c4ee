//! The README: its length, and that what it tells readers to type exists.

use super::root;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap()
}

#[test]
fn the_readme_has_at_most_1000_words() {
    let n_words = read("README.md").split_whitespace().count();
    assert!(n_words <= 1000, "README.md has {n_words} words");
}

/// The code of a page: the lines of its blocks and its spans.
fn code(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut in_block = false;
    for line in text.lines() {
        if line.starts_with("```") {
            in_block = !in_block;
        } else if in_block {
            found.extend(line.split(" && "));
        } else {
            found.extend(line.split('`').skip(1).step_by(2));
        }
    }
    found
}

/// The words that follow `command` in the code of a page, up to one that is no plain name.
fn arguments<'a>(text: &'a str, command: &str) -> Vec<Vec<&'a str>> {
    let is_name = |word: &&str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word
                .chars()
                .all(|c| c.is_ascii_lowercase() || "-2".contains(c))
    };
    let calls = code(text).into_iter();
    let after = calls.filter_map(|call| call.trim().strip_prefix(command)?.strip_prefix(' '));
    after
        .map(|rest| rest.split_whitespace().take_while(is_name).collect())
        .collect()
}

/// README.md and every page of the book.
fn pages() -> Vec<String> {
    let mut texts = vec![read("README.md"), read("CONTRIBUTING.md")];
    let contents = read("docs/SUMMARY.md");
    let targets = contents.split("](").skip(1);
    let names = targets.filter_map(|target| target.split(')').next());
    texts.extend(names.map(|name| read(&format!("docs/{name}"))));
    texts
}

#[test]
fn every_make_target_in_the_docs_exists() {
    let makefile = read("Makefile");
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name)
        .collect();
    for text in pages() {
        for target in arguments(&text, "make").into_iter().flatten() {
            assert!(targets.contains(target), "there is no target {target:?}");
        }
    }
}

#[test]
fn every_wick_command_in_the_docs_exists() {
    let command = wick::command();
    let mut n_found = 0;
    for text in pages() {
        for words in arguments(&text, "wick") {
            let Some(name) = words.first() else { continue };
            let found = command.find_subcommand(name);
            assert!(found.is_some(), "there is no `wick {name}`");
            n_found += 1;
        }
    }
    assert!(n_found > 20, "{n_found} commands found");
}

/// The example row of a file in the README, written into `dir`.
fn example(dir: &Path, name: &str) -> PathBuf {
    let text = read("README.md");
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let row = line.unwrap_or_else(|| panic!("README.md has no row of {name}"));
    let path = dir.join(name);
    std::fs::write(&path, row.trim()).unwrap();
    path
}

#[test]
fn the_example_rows_of_the_readme_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let row = |name: &str| example(dir.path(), name);
    let auto = data::Format::Auto;
    let demonstrations = data::demonstrations(&row("demonstrations.json"), auto).unwrap();
    let pairs = data::preferences(&row("pairs.jsonl"), auto).unwrap();
    let prompts = data::prompts(&row("prompts.jsonl"), auto).unwrap();
    let n_read = [
        demonstrations.items.len(),
        pairs.items.len(),
        prompts.items.len(),
    ];
    assert_eq!(n_read, [1, 1, 1]);
}
