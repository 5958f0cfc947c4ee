//! What is found in rows that are damaged, repeated, refused or long.

use super::{file, inspected, shape, text};
use crate::common::refused;
use inspect::Stage;
use std::path::Path;

#[test]
fn bad_rows_are_counted_by_reason_with_the_first_of_them() {
    let rows = r#"{"instruction": "a", "output": "1"}
{"instruction": "b", "output": 2}
{"instruction": "c", "output": ""}
{"instruction": "d", "output": 4}
{"instruction": "e", "output": "5", "label": true}
{"instruction": "f", "output": "6", "hint": "x"}
"#;
    let (_dir, path) = file("rows.jsonl", rows);
    let report = inspected(&path).unwrap();
    let sft = &report.stages[Stage::Sft as usize];
    assert_eq!((report.rows, sft.records, sft.takes), (6, 2, false));
    let counts = |list: &[inspect::Reason]| -> Vec<(String, u64, String)> {
        let list = list.iter();
        list.map(|r| (r.reason.clone(), r.rows, r.first.replace(&path, "x")))
            .collect()
    };
    let reasons = counts(&sft.refused);
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert!(
        reasons[0]
            .0
            .starts_with("field \"output\" is a number, not a string")
    );
    assert_eq!((reasons[0].1, reasons[0].2.as_str()), (2, "x: row 2"));
    assert!(
        reasons[1]
            .0
            .starts_with("field \"label\" grades or weighs the row")
    );
    assert_eq!((reasons[1].1, reasons[1].2.as_str()), (1, "x: row 5"));
    let dropped = [("empty answer".to_string(), 1, "x: row 3".to_string())];
    assert_eq!(counts(&sft.dropped), dropped);
    let field = |name: &str| {
        report
            .fields
            .iter()
            .find(|field| field.name == name)
            .unwrap()
    };
    assert_eq!(
        (field("instruction").rows, field("instruction").becomes),
        (4, "used")
    );
    assert_eq!((field("hint").rows, field("hint").becomes), (1, "unused"));
    assert_eq!(
        (field("label").rows, field("label").becomes),
        (1, "refused")
    );
    assert_eq!(
        field("label").why.as_deref(),
        Some(
            "field \"label\" grades or weighs the row, and nothing here reads it; keep only the rows \
             whose answers are to be learnt, without the field"
        )
    );

    let report = inspected(&format!("{path} --ignore label,hint")).unwrap();
    let field = |name: &str| {
        report
            .fields
            .iter()
            .find(|field| field.name == name)
            .unwrap()
    };
    assert_eq!(
        (field("label").becomes, field("hint").becomes),
        ("ignored", "ignored")
    );
    assert_eq!(report.stages[Stage::Sft as usize].records, 3);
}

#[test]
fn every_refused_field_is_named() {
    let row =
        r#"{"prompt": "a", "completion": "1", "label": true, "score": 3, "functions": ["x"]}"#;
    let (_dir, path) = file("rows.jsonl", row);
    let report = inspected(&format!("{path} --stage sft --format prompt_completion")).unwrap();
    let refused = report
        .fields
        .iter()
        .filter(|field| field.becomes == "refused");
    let names: Vec<&str> = refused.map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["functions", "label", "score"]);
}

#[test]
fn a_damaged_file_is_read_up_to_the_damage() {
    let good = r#"{"prompt": "a", "completion": "1"}"#;
    let (_dir, path) = file("rows.jsonl", format!("{good}\n{good}\n{{\"prompt\": \n"));
    let report = inspected(&path).unwrap();
    assert_eq!((report.rows, report.files[0].rows), (2, 2));
    let error = report.files[0].error.as_deref().unwrap();
    assert!(
        error.contains("row 3: ends in the middle of an object"),
        "{error}"
    );
    assert!(report.stages.iter().all(|facts| !facts.takes));
    let page = report.text(false);
    assert!(
        page.contains("no stage takes these rows as they are"),
        "{page}"
    );
}

#[test]
fn nothing_to_read_is_an_error() {
    let (dir, path) = file("empty.jsonl", "");
    let empty = "is empty; expected a JSON array of objects, or one JSON object per line";
    refused(inspected(&path), &format!("{path}: {empty}"));
    std::fs::write(dir.path().join("also.jsonl"), "").unwrap();
    let home = text(dir.path());
    refused(
        inspected(&home),
        &format!("none of 2 files can be read: {home}/also.jsonl: {empty}"),
    );
    let none = inspected(&format!("{home}/none.jsonl")).unwrap_err();
    assert!(none.to_string().contains("cannot be read"), "{none}");
    refused(
        inspected(&format!("{path} {path}")),
        &format!(
            "{path} is given twice; to visit rows more often, give it a weight in [[data.sources]]"
        ),
    );
    refused(
        inspected(&format!("{path} --rows 0")),
        "--rows 0 leaves nothing to look at",
    );
}

#[test]
fn repeated_and_shared_prompts_are_counted() {
    let row = |prompt: &str, answer: &str| {
        format!("{{\"prompt\": \"{prompt}\", \"completion\": \"{answer}\"}}\n")
    };
    let rows = [
        row("a", "1"),
        row("b", "2"),
        row("a", "3"),
        row("b", "2"),
        row("c", "4"),
    ];
    let (dir, path) = file("rows.jsonl", rows.concat());
    let other = text(&dir.path().join("other.jsonl"));
    std::fs::write(
        &other,
        [row("b", "9"), row("z", "9"), row("a", "9")].concat(),
    )
    .unwrap();
    let report = inspected(&format!("{path} --with {other}")).unwrap();
    let duplicates = &report.duplicates;
    assert_eq!(duplicates.distinct_prompts, 3);
    assert_eq!(
        (duplicates.repeated_prompts, duplicates.repeated_rows),
        (2, 1)
    );
    let first = |first: &Option<String>| first.as_ref().unwrap().replace(&path, "x");
    assert_eq!(first(&duplicates.first_repeated_prompt), "x: row 3");
    assert_eq!(first(&duplicates.first_repeated_row), "x: row 4");
    let overlap = report.overlap.as_ref().unwrap();
    assert_eq!((overlap.prompts, overlap.shared), (3, 2));
    assert_eq!(overlap.first[0].replace(&path, "x"), "x: row 1: \"a\"");
    // esrl-rlhf uses each prompt once
    let rlhf = &report.stages[Stage::Rlhf as usize];
    assert_eq!((rlhf.records, rlhf.dropped[0].rows), (3, 2));
    assert_eq!(rlhf.dropped[0].reason, "repeated prompt");
    assert_eq!((report.held_out.share, report.held_out.prompts), (0.05, 1));
}

#[test]
fn lengths_are_exact_and_the_histogram_has_every_record() {
    let row = |n: usize| {
        format!(
            "{{\"prompt\": \"{}\", \"completion\": \"é\"}}\n",
            "x".repeat(n)
        )
    };
    let rows: String = (1..=200).map(row).collect();
    let (_dir, path) = file("rows.jsonl", rows);
    let report = inspected(&path).unwrap();
    let lengths = report.lengths.unwrap();
    let prompt = lengths.prompt.unwrap();
    assert_eq!((prompt.n, prompt.min, prompt.max), (200, 1, 200));
    assert_eq!((prompt.median, prompt.p95, prompt.mean), (100, 190, 100.5));
    let answer = lengths.answer.unwrap();
    assert_eq!((answer.min, answer.max), (1, 1), "characters, not bytes");
    let bars = &lengths.histogram;
    assert_eq!(bars.iter().map(|bar| bar.rows).sum::<u64>(), 200);
    assert!(bars.len() <= 12, "{bars:?}");
    let starts: Vec<usize> = bars.iter().map(|bar| bar.from).collect();
    assert_eq!(starts, (0..11).map(|bar| bar * 20).collect::<Vec<_>>());
}

#[test]
fn a_part_of_the_rows_is_said_to_be_one() {
    let report = inspected(&format!(
        "{} --rows 2 --examples 1",
        shape("messages.jsonl")
    ))
    .unwrap();
    assert_eq!(
        (report.rows, report.is_beginning, report.examples.len()),
        (2, true, 1)
    );
    assert!(report.text(false).contains("no more were looked at"));
    let only = format!("{} --only (?i)french", shape("messages.jsonl"));
    let report = inspected(&only).unwrap();
    let sft = &report.stages[Stage::Sft as usize];
    assert_eq!(sft.records, 1);
    assert_eq!(
        (sft.dropped[0].rows, sft.dropped[0].reason.as_str()),
        (4, "not matched by --only")
    );
    assert!(
        sft.command
            .as_ref()
            .unwrap()
            .contains("--set 'data.only=(?i)french'"),
        "{sft:?}"
    );
}

#[test]
fn long_text_is_cut_in_its_middle_and_cannot_steer_the_terminal() {
    let long = format!("{}\\u001b[31mMIDDLE{}", "a".repeat(3000), "b".repeat(3000));
    let row = format!("{{\"prompt\": \"p\\u001b[2J\", \"completion\": \"{long}\"}}");
    let (_dir, path) = file("rows.jsonl", row);
    let page = inspected(&path).unwrap().text(false);
    assert!(
        page.contains("characters left out …]") && !page.contains("MIDDLE"),
        "{page}"
    );
    assert!(
        page.contains("p\\u{1b}[2J") && !page.contains('\x1b'),
        "{page}"
    );
    let shown = |c: char| page.matches(c).count();
    assert!(shown('b') > 500 && shown('b') < 700, "{}", shown('b'));
}

#[test]
fn a_directory_is_read_file_by_file() {
    let (dir, _) = file("a.csv", "prompt,completion\nx,1\ny,2\n");
    std::fs::write(
        dir.path().join("b.jsonl"),
        "{\"prompt\": \"z\", \"completion\": \"3\"}\n",
    )
    .unwrap();
    std::fs::write(dir.path().join("c.bin"), "?").unwrap();
    let report = inspected(&text(dir.path())).unwrap();
    let rows: Vec<u64> = report.files.iter().map(|file| file.rows).collect();
    assert_eq!((rows, report.rows), (vec![2, 1], 3));
    assert_eq!(report.notes.len(), 1, "{:?}", report.notes);
    assert_eq!(report.stages[Stage::Sft as usize].records, 3);
}

#[test]
fn the_json_has_these_keys() {
    let report = inspected(&shape("messages.jsonl")).unwrap();
    let json = serde_json::to_value(&report).unwrap();
    let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "paths",
            "files",
            "notes",
            "rows",
            "is_beginning",
            "formats",
            "template",
            "mixture",
            "stage",
            "stages",
            "fields",
            "further_fields",
            "duplicates",
            "overlap",
            "held_out",
            "lengths",
            "conversations",
            "findings",
            "examples"
        ]
    );
    assert_eq!(json["stage"], "sft");
    assert_eq!(json["stages"][2]["stage"], "rlhf");
    assert_eq!(json["formats"][0]["decided_by"][0], "messages");
    assert_eq!(json["lengths"]["whole"]["n"], 5);
    assert_eq!(json["conversations"]["most_turns"], 4);
    assert_eq!(
        json["examples"][0]["sequences"][0]["pieces"][0]["is_learnt"],
        false
    );
}

/// The report and the stage read the same rows, and say the same of them.
#[test]
fn the_notes_are_those_of_the_stage() {
    let turn = |role: &str, text: &str| format!(r#"{{"role": "{role}", "content": "{text}"}}"#);
    let turns = [turn("user", "a"), turn("assistant", "b"), turn("user", "c")].join(", ");
    let answer = turn("assistant", "d");
    let rows = [
        format!(r#"{{"messages": [{turns}, {answer}], "id": "x", "hint": "h"}}"#),
        format!(
            r#"{{"messages": "[{}]", "source": "s"}}"#,
            format!("{turns}, {answer}, {}", turn("user", "e")).replace('"', "\\\"")
        ),
    ];
    let (_dir, path) = file("x.jsonl", rows.join("\n"));
    let report = inspected(&path).unwrap();
    let options = data::ReadOptions {
        train_on: data::TrainOn::All,
        ..data::ReadOptions::default()
    };
    let read = data::demonstrations(Path::new(&path), options.clone()).unwrap();
    let lines = read.counts.lines(Path::new(&path));
    assert_eq!(report.notes, lines[1..]);
    let said = report.notes.concat();
    for what in [
        "fields that are not used (rows): \"hint\" (1)",
        "as text of JSON (rows): \"messages\" (1; first: ",
        "1 turn after the last answer that is learnt is left out",
        "2 earlier assistant turns are learnt",
    ] {
        assert!(said.contains(what), "{what:?} is not in: {said}");
    }
    // those of another stage
    let other = inspected(&format!("{path} --stage rlhf")).unwrap().notes;
    let read = data::prompts(Path::new(&path), options).unwrap();
    assert_eq!(other, read.counts.lines(Path::new(&path))[1..]);
}
