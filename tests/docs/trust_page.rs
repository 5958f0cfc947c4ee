//! The tests that docs/trust.md names exist.

use super::page;
use std::collections::BTreeSet;
use std::path::Path;

/// Adds the tests below a folder by their paths, such as `data::tokens::name`.
fn tests_below(dir: &Path, module: &str, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let module = match stem {
            "mod" | "main" => module.to_string(),
            stem => format!("{module}::{stem}"),
        };
        if path.is_dir() {
            tests_below(&path, &module, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let mut lines = text.lines().map(str::trim);
            while lines.any(|line| line == "#[test]") {
                let name = lines.next().unwrap().trim_start_matches("fn ");
                let name = name.split('(').next().unwrap();
                found.insert(format!("{module}::{name}"));
            }
        }
    }
}

#[test]
fn every_test_named_on_the_trust_page_exists() {
    let mut tests = BTreeSet::new();
    tests_below(Path::new(env!("CARGO_MANIFEST_DIR")), "", &mut tests);
    let text = page("trust.md");
    let named = text.split('`').skip(1).step_by(2);
    let named: Vec<&str> = named
        .filter(|word| word.contains("::") && !word.contains(' ') && *word != "area::name")
        .collect();
    assert!(named.len() > 50, "{}", named.len());
    let exists = |name: &str| {
        tests
            .iter()
            .any(|test| test.ends_with(&format!("::{name}")))
    };
    let missing: Vec<&&str> = named.iter().filter(|name| !exists(name)).collect();
    assert!(
        missing.is_empty(),
        "docs/trust.md names tests that do not exist: {missing:?}"
    );
}
