//! What only a model shows: tokens, and what its encoder finds.

use super::{file, inspected, shape};
use crate::pipeline::world::World;
use inspect::Stage;

#[test]
fn rows_that_cannot_be_tokenised_are_refused() {
    let rows = "{\"prompt\": \"<s><s>a\", \"completion\": \"b\"}\n\
                {\"prompt\": \"c\", \"completion\": \"d\"}\n";
    let (_dir, path) = file("rows.jsonl", rows);
    let world = World::new();
    let base = world.text("base");
    let report = inspected(&format!("{path} --model {base} --template raw")).unwrap();
    let sft = &report.stages[Stage::Sft as usize];
    assert!(!sft.takes && sft.command.is_none());
    assert_eq!(sft.refused.len(), 1);
    let refused = &sft.refused[0];
    assert!(
        refused
            .reason
            .starts_with("a prompt begins with two BOS tokens (<s>)")
    );
    assert_eq!(
        (refused.rows, refused.first.clone()),
        (1, format!("{path}: row 1"))
    );
    assert_eq!(report.examples.len(), 1, "the other one");
    let lengths = report.lengths.as_ref().unwrap();
    assert_eq!((lengths.counted, lengths.of), (1, 2));
}

#[test]
fn what_the_encoder_finds_is_said() {
    let row = "{\"prompt\": \"a\", \"completion\": \"b </s> c\"}\n";
    let (_dir, path) = file("rows.jsonl", row);
    let world = World::new();
    let report = inspected(&format!("{path} --model {}", world.text("base"))).unwrap();
    let [finding] = &report.findings[..] else {
        panic!("{:?}", report.findings);
    };
    let expected = "these rows: special tokens or marks of another turn in 1 answer (\"</s>\" 1; ";
    assert!(finding.starts_with(expected), "{finding}");
}

#[test]
fn of_many_records_a_sample_is_tokenised() {
    let row = |n: usize| format!("{{\"prompt\": \"{n}\", \"completion\": \"a\"}}\n");
    let (_dir, path) = file("rows.jsonl", (0..45_000).map(row).collect::<String>());
    let world = World::new();
    let report = inspected(&format!("{path} --model {}", world.text("base"))).unwrap();
    let lengths = report.lengths.as_ref().unwrap();
    // one in four: one in two is more than 20,000
    assert_eq!((lengths.counted, lengths.of), (11_250, 45_000));
    let bars = lengths.histogram.iter().map(|bar| bar.rows);
    assert_eq!(bars.sum::<u64>(), 11_250);
    assert!(
        report
            .text(false)
            .contains("of a sample: 11250 of 45000 records")
    );
}

#[test]
fn the_command_has_the_settings_of_the_report() {
    let world = World::new();
    let base = world.text("base");
    let command = |line: &str| {
        let report = inspected(&format!("{line} --model {base}")).unwrap();
        let command = report.stages[report.stage as usize]
            .command
            .clone()
            .unwrap();
        command.replace(&base, "BASE")
    };
    let path = shape("messages.jsonl");
    assert_eq!(
        command(&format!(
            "{path} --max-len 64 --train-on last --ignore id,x --template raw"
        )),
        format!(
            "wick sft --set model.source=BASE --set data.path={path} --set \
             'data.ignore=[\"id\",\"x\"]' --set data.max_len=64 --set data.train_on=last --set \
             model.template=raw --run runs/sft"
        )
    );
    let other = shape("preference-messages.jsonl");
    let path = shape("preference.jsonl");
    assert_eq!(
        command(&format!("{path} {other} --format pairs --template alpaca")),
        format!(
            "wick rm --set model.source=BASE --set 'data.path=[\"{path}\",\"{other}\"]' --set \
             data.format=pairs --set data.max_len=128 --run runs/rm"
        )
    );
}
