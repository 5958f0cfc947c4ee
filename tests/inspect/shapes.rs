//! Reports on a file of each shape agree with what the stages' readers take.

use super::{inspected, shape, shapes, text};
use data::{Demonstration, Format, Preference, Prompt, ReadOptions, Record};
use inspect::{Report, Stage};
use std::collections::HashSet;
use std::path::Path;

/// The records that a stage reads, or its error.
fn read<T: Record>(path: &Path) -> Result<u64, String> {
    let options = ReadOptions::from(Format::Auto);
    let mut n = 0;
    let counts = data::for_each(path, &options, None, &mut HashSet::new(), &mut |_: T| {
        n += 1;
        Ok(true)
    });
    counts.map(|_| n).map_err(|e| e.to_string())
}

#[track_caller]
fn agrees(report: &Report, stage: Stage, path: &Path, expected: &Result<u64, String>) {
    let facts = &report.stages[stage as usize];
    assert_eq!(facts.stage, stage);
    let shown = path.display();
    match expected {
        Ok(n) => {
            assert!(facts.takes, "{shown}: {facts:?}");
            assert_eq!(facts.records, *n, "{shown}");
            let command = facts.command.as_deref().unwrap();
            let parsed = wick::Cli::try_parse(command.split_whitespace());
            assert!(parsed.is_ok(), "{command}");
            assert!(
                command.contains(&format!("--set data.path={shown}")),
                "{command}"
            );
        }
        Err(error) => {
            assert!(!facts.takes, "{shown}: {error}");
            assert_eq!(facts.command, None);
            let reasons = facts.refused.iter().map(|refused| refused.reason.as_str());
            // of refused fields the report names all, and its own option
            let error = error.split("; remove such rows").next().unwrap();
            let said = |reason: &str| {
                let reason = reason.split("; remove such rows").next().unwrap();
                let reason = reason.split("; field \"").next().unwrap();
                error.ends_with(reason)
            };
            let is_said = reasons.clone().any(said);
            assert!(is_said, "{error}\n{:?}", reasons.collect::<Vec<_>>());
        }
    }
}

#[test]
fn stages_take_what_the_report_says() {
    let mut n_taken = 0;
    for path in shapes() {
        let report = inspected(&text(&path)).unwrap();
        let expected = [
            read::<Demonstration>(&path),
            read::<Preference>(&path),
            read::<Prompt>(&path),
        ];
        for (stage, expected) in [Stage::Sft, Stage::Rm, Stage::Rlhf]
            .into_iter()
            .zip(&expected)
        {
            agrees(&report, stage, &path, expected);
            n_taken += usize::from(expected.is_ok());
        }
        assert_eq!(report.files[0].path, text(&path));
        assert!(report.rows >= 3, "{}", path.display());
        assert_eq!(report.rows, report.files[0].rows);
    }
    assert!(n_taken >= 30, "{n_taken}");
}

#[test]
fn a_report_is_about_the_stage_that_the_rows_are_for() {
    for (name, stage, unit, container) in [
        ("alpaca.json", Stage::Sft, "characters", "a JSON list"),
        ("messages.jsonl", Stage::Sft, "characters", "JSON Lines"),
        ("text.txt", Stage::Sft, "characters", "lines of text"),
        ("table.csv", Stage::Sft, "characters", "CSV"),
        ("table.tsv", Stage::Sft, "characters", "TSV"),
        ("preference.jsonl", Stage::Rm, "characters", "JSON Lines"),
        ("comparison-v2.json", Stage::Rm, "characters", "a JSON list"),
        ("fastchat.jsonl", Stage::Rlhf, "characters", "JSON Lines"),
    ] {
        let report = inspected(&shape(name)).unwrap();
        assert_eq!(report.stage, stage, "{name}");
        assert_eq!(report.lengths.unwrap().unit, unit, "{name}");
        assert_eq!(
            report.files[0].container.as_deref(),
            Some(container),
            "{name}"
        );
        assert!(!report.examples.is_empty(), "{name}");
    }
}

#[test]
fn lines_fit_the_screen() {
    for path in shapes() {
        let page = inspected(&text(&path)).unwrap().text(false);
        assert!(page.contains("\nverdict    "), "{page}");
        for line in page.lines() {
            let is_free = line.starts_with("next ") || line.starts_with("  ");
            assert!(line.chars().count() <= 80 || is_free, "{line}");
        }
    }
}
