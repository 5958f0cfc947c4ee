//! The public data sets that users have (data/README.md), read in full.

use super::inputs::real_data;
use data::Format;

/// Rows of a file, counted without the crate under test.
fn n_rows(name: &str) -> usize {
    let text = std::fs::read_to_string(real_data(name)).unwrap();
    if name.ends_with(".jsonl") {
        return text.lines().filter(|line| !line.trim().is_empty()).count();
    }
    let rows: Vec<serde::de::IgnoredAny> = serde_json::from_str(&text).unwrap();
    rows.len()
}

/// Every row is read. Of a copy of this size in bytes, the number of rows is known.
#[track_caller]
fn check_rows(name: &str, found: usize, known: (u64, usize)) {
    let expected = n_rows(name);
    assert!(expected > 0, "{name} is empty");
    assert_eq!(found, expected, "{name}");
    let bytes = std::fs::metadata(real_data(name)).unwrap().len();
    if bytes == known.0 {
        assert_eq!(found, known.1, "{name} of {bytes} bytes");
    }
}

#[test]
fn alpaca_files_are_read_in_full() {
    for (name, known) in [
        ("alpaca_gpt4.json", (673_064, 787)),
        ("alpaca_davinci.json", (3_139_122, 7729)),
    ] {
        let loaded = data::demonstrations(&real_data(name), Format::Auto).unwrap();
        check_rows(name, loaded.counts.n_rows, known);
        let n_dropped: usize = loaded.counts.dropped.values().sum();
        assert_eq!(
            loaded.items.len() + n_dropped,
            loaded.counts.n_rows,
            "{name}"
        );
        assert!(
            n_dropped * 100 <= loaded.counts.n_rows,
            "{name}: {:?}",
            loaded.counts.dropped
        );
    }
}

#[track_caller]
fn check_preferences(name: &str, known: (u64, usize)) {
    let path = real_data(name);
    let loaded = data::preferences(&path, Format::Auto).unwrap();
    check_rows(name, loaded.counts.n_rows, known);
    let (n, longer) = loaded.items.iter().fold((0, 0), |(n, longer), pair| {
        (
            n + 1,
            longer + usize::from(pair.chosen.len() > pair.rejected.len()),
        )
    });
    println!(
        "{name}: the longer answer wins {:.1} %",
        100.0 * longer as f64 / n as f64
    );
    assert!(0 < longer && longer < n, "{name}: {longer} of {n}");
    let prompts = data::prompts(&path, Format::Auto).unwrap();
    assert!(!prompts.items.is_empty(), "{name} has no prompts");
}

#[test]
fn comparisons_are_read_in_full() {
    check_preferences("comparison_gpt4.json", (8_261_926, 6929));
}

#[test]
fn hh_transcripts_are_read_in_full() {
    check_preferences("hh_harmless.jsonl", (1_698_118, 1200));
}

#[test]
fn vicuna_questions_are_read_in_full() {
    let path = real_data("vicuna_question_80.jsonl");
    let questions = data::prompts(&path, Format::Auto).unwrap();
    assert_eq!(questions.items.len(), 80);
}
