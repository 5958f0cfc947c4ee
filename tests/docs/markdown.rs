//! The form of every Markdown file: width of its text, columns of its tables, links that exist.

use super::root;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const MAX_COLUMNS: usize = 100;
const MAX_TABLE_COLUMNS: usize = 7;
const MAX_PARAGRAPH_LINES: usize = 5;

/// Folders whose Markdown is not ours, or not text for people.
const SKIPPED: [&str; 11] = [
    ".bench", ".cuda", ".env", ".git", ".models", ".tools", "corpus", "fixtures", "real", "runs",
    "target",
];

/// Every Markdown file of the repository.
fn markdown_files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_string();
            if path.is_dir() && !SKIPPED.contains(&name.as_str()) {
                open.push(path);
            } else if name.ends_with(".md") {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 60, "{} files found", found.len());
    found.sort();
    found
}

/// A line of a file with its number, outside of code.
fn text_lines(text: &str) -> Vec<(usize, &str)> {
    let mut in_code = false;
    let mut lines = Vec::new();
    for (i, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code && !line.starts_with("    ") {
            lines.push((i + 1, line));
        }
    }
    lines
}

/// Runs a check over all files and fails with everything that it finds.
#[track_caller]
fn check(what: &str, faults_of: impl Fn(&Path, &str) -> Vec<String>) {
    let mut faults = Vec::new();
    for path in markdown_files() {
        let text = std::fs::read_to_string(&path).unwrap();
        let shown = path.strip_prefix(root()).unwrap().display().to_string();
        for fault in faults_of(&path, &text) {
            faults.push(format!("{shown}:{fault}"));
        }
    }
    assert!(faults.is_empty(), "{what}:\n{}", faults.join("\n"));
}

/// Whether a line may be wide: a table, a heading, a picture, or one word (a URL).
fn may_be_wide(line: &str) -> bool {
    let line = line.trim_start_matches([' ', '-', '*', '>']);
    line.starts_with(['|', '#']) || line.starts_with("![") || !line.contains(' ')
}

#[test]
fn text_is_at_most_100_columns_wide() {
    check("lines over 100 columns", |_, text| {
        let wide = |line: &str| line.chars().count() > MAX_COLUMNS && !may_be_wide(line);
        let lines = text_lines(text).into_iter().filter(|(_, line)| wide(line));
        lines.map(|(n, line)| format!("{n}: {line}")).collect()
    });
}

#[test]
fn tables_have_at_most_seven_columns() {
    check("tables over 7 columns", |_, text| {
        let rules = text_lines(text).into_iter().filter(|(_, line)| {
            line.starts_with("|-") && line.matches('|').count() - 1 > MAX_TABLE_COLUMNS
        });
        rules.map(|(n, _)| n.to_string()).collect()
    });
}

#[test]
fn paragraphs_are_short() {
    check("long paragraphs", |_, text| {
        let mut faults = Vec::new();
        let mut n_lines = 0;
        for (n, line) in text_lines(text) {
            let is_text = !line.trim().is_empty() && !line.starts_with(['|', '#']);
            let item = line
                .trim_start()
                .trim_start_matches(|c: char| c.is_ascii_digit());
            let starts = item.starts_with(['-', '*', '>', '.']);
            n_lines = match (is_text, starts) {
                (false, _) => 0,
                (true, true) => 1,
                (true, false) => n_lines + 1,
            };
            if n_lines == MAX_PARAGRAPH_LINES + 1 {
                faults.push(format!("{n}: {line}"));
            }
        }
        faults
    });
}

/// The targets of `[text](target)` and `![text](target)`.
fn links(text: &str) -> Vec<String> {
    let prose: Vec<&str> = text_lines(text).into_iter().map(|(_, line)| line).collect();
    let prose = prose.join("\n");
    let parts = prose.split("](").skip(1);
    parts
        .filter_map(|part| part.split_once(')').map(|(target, _)| target.to_string()))
        .filter(|target| !target.contains([' ', '\n', '`']) && !target.contains("://"))
        .collect()
}

/// A heading as mdBook and GitHub name it in a URL.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let lines = text_lines(text).into_iter().map(|(_, line)| line);
    lines.filter(|l| l.starts_with('#')).map(anchor).collect()
}

#[test]
fn relative_links_lead_to_files_and_headings() {
    check("broken links", |path, text| {
        let broken = |target: &String| {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = match file {
                "" => path.to_path_buf(),
                file => path.parent().unwrap().join(file),
            };
            let Ok(found) = std::fs::metadata(&file) else {
                return true;
            };
            !heading.is_empty()
                && found.is_file()
                && !anchors(&std::fs::read_to_string(&file).unwrap()).contains(heading)
        };
        links(text).into_iter().filter(broken).collect()
    });
}

#[test]
fn every_page_is_in_the_table_of_contents() {
    let docs = root().join("docs");
    let contents = std::fs::read_to_string(docs.join("SUMMARY.md")).unwrap();
    let listed: BTreeSet<PathBuf> = links(&contents).into_iter().map(|l| docs.join(l)).collect();
    let missing: Vec<PathBuf> = markdown_files()
        .into_iter()
        .filter(|path| path.starts_with(&docs) && !path.ends_with("SUMMARY.md"))
        .filter(|path| !listed.contains(path))
        .collect();
    assert!(missing.is_empty(), "not in docs/SUMMARY.md: {missing:?}");
}
