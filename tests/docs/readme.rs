//! The README: its length, and that what it tells readers to type exists.

use super::root;
use std::collections::BTreeSet;

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap()
}

#[test]
fn the_readme_has_at_most_1000_words() {
    let n_words = read("README.md").split_whitespace().count();
    assert!(n_words <= 1000, "README.md has {n_words} words");
}

/// The first word after each occurrence of `command` at the start of a line or of a code span.
fn commands<'a>(text: &'a str, command: &str) -> BTreeSet<&'a str> {
    let spans = text.split('`').skip(1).step_by(2);
    let starts = text.lines().chain(spans).map(str::trim_start);
    let arguments = starts.filter_map(|line| line.strip_prefix(command)?.strip_prefix(' '));
    let first = arguments.filter_map(|line| line.split_whitespace().next());
    first
        .filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
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
        for target in commands(&text, "make") {
            assert!(targets.contains(target), "there is no target {target:?}");
        }
    }
}

#[test]
fn every_wick_command_in_the_docs_exists() {
    let command = wick::command();
    let mut n_found = 0;
    for text in pages() {
        for name in commands(&text, "wick") {
            let found = command.find_subcommand(name);
            assert!(found.is_some(), "there is no `wick {name}`");
            n_found += 1;
        }
    }
    assert!(n_found > 20, "{n_found} commands found");
}
