//! The crates `row-files` and `data`: containers, formats and their errors, templates, tokens,
//! splits and the loader.

mod batches;
mod bounds;
mod chat;
mod columns;
mod containers;
mod contract;
mod conversations;
mod directories;
mod formats;
pub mod golden_rows;
mod golden_shapes;
mod ignored;
mod leftovers;
mod meaning;
mod mistakes;
mod mixtures;
mod needed;
mod only;
mod other_names;
mod pairs;
mod parquet;
mod parts;
mod pipes;
mod prepared;
mod questions;
mod quirks;
mod refused_early;
mod same_rows;
mod samples;
mod shapes;
mod tables;
mod templates;
pub mod tokens;
mod tool_templates;
mod tool_values;
mod tools;
mod transcripts;

use std::path::PathBuf;
use tempfile::TempDir;

/// A file of this name and content in a directory of its own.
pub fn file(name: &str, content: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, content).unwrap();
    (dir, path)
}
