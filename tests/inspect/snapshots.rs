//! Whole reports, letter by letter. A change of one shows the new text in full.

use super::{inspected, shape};
use crate::pipeline::world::World;

#[track_caller]
fn prints(line: &str, expected: &str) {
    let page = inspected(line).unwrap().text(false);
    assert_eq!(page, expected, "\n{page}");
}

#[test]
fn pairs_without_a_model() {
    let expected = include_str!("../golden/inspect/pairs.txt");
    prints(&shape("preference.jsonl"), expected);
}

#[test]
fn a_table_without_a_model() {
    let expected = include_str!("../golden/inspect/table.txt");
    prints(&shape("table.csv"), expected);
}

#[test]
fn conversations_with_a_model() {
    let world = World::new();
    let line = format!(
        "{} --model {} --examples 1 --max-len 40",
        shape("messages.jsonl"),
        world.text("base")
    );
    let page = inspected(&line).unwrap();
    let lengths = page.lengths.as_ref().unwrap();
    assert_eq!(
        (lengths.unit, lengths.counted, lengths.of),
        ("tokens", 5, 5)
    );
    // two of the conversations have earlier answers, which Alpaca's template cannot mark in one
    // sequence
    assert_eq!(lengths.whole.as_ref().unwrap().n, 7);
    assert_eq!(lengths.longer, Some(6));
    let sequence = &page.examples[0].sequences[0];
    let learnt = sequence.pieces.iter().filter(|piece| piece.is_learnt);
    let learnt: Vec<&str> = learnt.map(|piece| piece.text.as_str()).collect();
    assert!(learnt.last().unwrap().ends_with("</s>"), "{learnt:?}");
    let plain = page.text(false);
    assert!(plain.contains('⟦') && !plain.contains('\x1b'), "{plain}");
    let colored = page.text(true);
    assert!(
        colored.contains("\x1b[30;42m") && !colored.contains('⟦'),
        "{colored}"
    );
}

/// The page shows what the command prints, but for the lines that it shortens.
#[test]
fn the_page_on_inspect_shows_todays_report() {
    let page = include_str!("../../docs/guides/inspect-data.md");
    let (_, sample) = page.split_once("```\nfile ").unwrap();
    let (sample, _) = sample.split_once("\nexample 1").unwrap();
    let line = "../data/tiny/demonstrations.json --model ../data/tiny/base \
                --with ../data/tiny/heldout.json --examples 1";
    let report = inspected(line).unwrap().text(false).replace("../", "");
    let (report, _) = report.split_once("\nexample 1").unwrap();
    assert_eq!(format!("file {sample}"), report, "\n{report}");
}
