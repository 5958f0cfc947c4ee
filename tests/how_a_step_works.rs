//! docs/how-a-step-works.md lists the files of one PPO step: at most 15, and each has the functions
//! that the page names.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The cells of the table's rows: number, file, what happens there, functions to read.
fn rows(page: &str) -> Vec<Vec<&str>> {
    let cells = |line: &'_ str| -> Option<Vec<&str>> {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let numbered = cells.len() == 4 && cells[0].parse::<usize>().is_ok();
        numbered.then_some(cells)
    };
    page.lines().filter_map(cells).collect()
}

fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn a_ppo_step_is_at_most_15_files_that_exist() {
    let page = std::fs::read_to_string(root().join("docs/how-a-step-works.md")).unwrap();
    let rows = rows(&page);
    assert!((10..=15).contains(&rows.len()), "{} files", rows.len());
    for row in &rows {
        let file = quoted(row[1]).next().unwrap();
        let text = std::fs::read_to_string(root().join(file));
        let text = text.unwrap_or_else(|e| panic!("{file}: {e}"));
        for function in quoted(row[3]) {
            let found = text.contains(&format!("fn {function}("))
                || text.contains(&format!("fn {function}<"));
            assert!(found, "{file} has no function {function}");
        }
    }
}

#[test]
fn make_rlhf_calls_the_binary_that_the_page_begins_with() {
    let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
    let target = makefile.lines().skip_while(|line| !line.starts_with("rlhf:"));
    let recipe = target.skip(1).next().unwrap();
    assert!(recipe.contains("$(BIN)/esrl-rlhf "), "{recipe}");
}

#[test]
fn the_step_is_one_function_that_names_the_five_words_in_order() {
    let file = root().join("crates/esrl-rlhf/src/rl_step.rs");
    let text = std::fs::read_to_string(file).unwrap();
    let begin = text.find("pub(crate) fn rl_step(").unwrap();
    let body = &text[begin..begin + text[begin..].find("\n}\n").unwrap()];
    assert!(body.lines().count() <= 85, "{}", body.lines().count());
    let words = ["Sample", "Score", "Read", "Prepare", "Update"];
    let mut rest = body;
    for (i, word) in words.iter().enumerate() {
        let comment = format!("// {}. {word}:", i + 1);
        let at = rest.find(&comment).unwrap_or_else(|| panic!("{comment} is missing"));
        rest = &rest[at..];
    }
}
