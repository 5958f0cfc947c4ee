//! `wick data inspect` and `wick data convert`.

mod commands;
mod config;
mod convert;
mod defaults;
mod examples;
mod fields;
mod findings;
mod shapes;
mod snapshots;
mod tokens;
mod wording;

use clap::Parser;
use inspect::{Converted, DataCommand, InspectCommand, Report};
use std::path::{Path, PathBuf};

#[derive(clap::Parser)]
struct InspectLine {
    #[command(flatten)]
    command: InspectCommand,
}

#[derive(clap::Parser)]
struct ConvertLine {
    #[command(flatten)]
    command: inspect::ConvertCommand,
}

/// `wick data`, to see that its arguments parse.
#[derive(clap::Parser)]
struct DataLine {
    #[command(flatten)]
    command: DataCommand,
}

fn words(line: &str) -> Vec<String> {
    let words = line.split_whitespace().map(str::to_string);
    std::iter::once("wick".to_string()).chain(words).collect()
}

/// The report of `wick data inspect LINE`.
fn inspected(line: &str) -> anyhow::Result<Report> {
    InspectLine::try_parse_from(words(line))?.command.report()
}

/// What `wick data convert LINE` wrote.
fn converted(line: &str) -> anyhow::Result<Converted> {
    ConvertLine::try_parse_from(words(line))?.command.convert()
}

/// The files of `data/shapes`, relative to the directory in which tests run.
fn shapes() -> Vec<PathBuf> {
    let files = std::fs::read_dir("../data/shapes").unwrap();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending != "md"));
    files.sort();
    assert!(files.len() >= 23, "{files:?}");
    files
}

fn shape(name: &str) -> String {
    format!("../data/shapes/{name}")
}

/// A file of this content in a directory of its own, and its path.
fn file(name: &str, content: impl AsRef<[u8]>) -> (tempfile::TempDir, String) {
    let (dir, path) = crate::data::file(name, content);
    (dir, text(&path))
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_string()
}

#[test]
fn both_commands_run_from_their_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let out = text(&dir.path().join("rows.jsonl"));
    let data = shape("messages.jsonl");
    for line in [
        format!("inspect {data} --json --color never"),
        format!("convert {data} --out {out}"),
    ] {
        let command = DataLine::try_parse_from(words(&line)).unwrap().command;
        command.execute().unwrap();
    }
    assert!(Path::new(&out).is_file());
    for line in [
        "",
        "inspect",
        "convert x.jsonl",
        "inspect x.jsonl --template raw",
    ] {
        assert!(DataLine::try_parse_from(words(line)).is_err(), "{line}");
    }
}
