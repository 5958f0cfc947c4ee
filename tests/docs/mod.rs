//! The documentation against the code: settings and their defaults, metrics, the tests that the
//! page on trust names, and the form of every Markdown file.

mod keys;
mod markdown;
mod method_list;
mod metric_pages;
mod readme;
mod trust_page;

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A page of `docs/`.
fn page(name: &str) -> String {
    let path = root().join("docs").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
