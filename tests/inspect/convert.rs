//! `wick data convert`: the same records, in our JSON Lines.

use super::{converted, file, inspected, shape, shapes, text};
use crate::common::refused;
use data::{Demonstration, Format, Preference, Prompt};
use inspect::Stage;
use std::path::Path;

/// What training sees of records, whatever form they were written in: the prompt's identity, its
/// text and the answers.
fn seen(path: &str, stage: Stage) -> Vec<(u64, String, Vec<String>)> {
    let path = Path::new(path);
    let of = |prompt: &Prompt, answers: &[&String]| {
        let answers = answers.iter().map(|answer| answer.to_string()).collect();
        (prompt.key(), prompt.ask.text(), answers)
    };
    match stage {
        Stage::Sft => {
            let rows = data::demonstrations(path, Format::Auto).unwrap().items;
            let row = |Demonstration { prompt, response }: &_| of(prompt, &[response]);
            rows.iter().map(row).collect()
        }
        Stage::Rm => {
            let rows = data::preferences(path, Format::Auto).unwrap().items;
            let row = |p: &Preference| of(&p.prompt, &[&p.chosen, &p.rejected]);
            rows.iter().map(row).collect()
        }
        Stage::Rlhf => {
            let rows = data::prompts(path, Format::Auto).unwrap().items;
            rows.iter().map(|prompt| of(prompt, &[])).collect()
        }
    }
}

#[test]
fn what_is_written_reads_as_the_same_records() {
    let dir = tempfile::tempdir().unwrap();
    let mut n_converted = 0;
    for path in shapes() {
        let path = text(&path);
        let report = inspected(&path).unwrap();
        let facts = &report.stages[report.stage as usize];
        let out = text(&dir.path().join(format!("{n_converted}.jsonl")));
        let unused = report
            .fields
            .iter()
            .filter(|field| field.becomes == "unused");
        let unused: Vec<&str> = unused.map(|field| field.name.as_str()).collect();
        let ignore = match unused.is_empty() {
            true => String::new(),
            false => format!("--ignore {}", unused.join(",")),
        };
        let result = converted(&format!("{path} --out {out} {ignore}"));
        if !facts.takes {
            assert!(result.is_err(), "{path} is refused, but was converted");
            assert!(!Path::new(&out).exists());
            continue;
        }
        let counts = result.unwrap_or_else(|e| panic!("{path}: {e:#}"));
        assert_eq!(
            (counts.n_rows, counts.n_written),
            (report.rows, facts.records),
            "{path}"
        );
        assert_eq!(
            seen(&out, report.stage),
            seen(&path, report.stage),
            "{path}"
        );
        n_converted += 1;
    }
    assert!(n_converted >= 12, "{n_converted}");
}

#[test]
fn rows_have_one_form() {
    let dir = tempfile::tempdir().unwrap();
    let out = text(&dir.path().join("rows.jsonl"));
    let first = |line: String| -> serde_json::Value {
        converted(&format!("{line} --out {out} --force")).unwrap();
        let rows = std::fs::read_to_string(&out).unwrap();
        serde_json::from_str(rows.lines().next().unwrap()).unwrap()
    };
    assert_eq!(
        first(shape("prompt-completion.jsonl")),
        serde_json::json!({"messages": [
            {"role": "user", "content": "Name the capital of Iceland."},
            {"role": "assistant", "content": "Reykjavík."}
        ]})
    );
    assert_eq!(
        first(shape("preference.jsonl")),
        serde_json::json!({
            "prompt": "Name the capital of Australia.", "chosen": "Canberra.", "rejected": "Sydney."
        })
    );
    assert_eq!(
        first(format!("{} --to prompt", shape("preference.jsonl"))),
        serde_json::json!({"prompt": "Name the capital of Australia."})
    );
    assert_eq!(
        first(shape("text.txt")),
        serde_json::json!({"text": "The harbour lies in a bay that is open to the south."})
    );
}

#[test]
fn what_is_lost_is_refused_or_said() {
    let rows = r#"{"instruction": "a", "input": "b", "output": "1", "hint": "x"}
{"instruction": "c", "output": ""}"#;
    let (dir, path) = file("rows.jsonl", rows);
    let out = text(&dir.path().join("out.jsonl"));
    refused(
        converted(&format!("{path} --out {out}")),
        &format!(
            "{path}: row 1: field \"hint\" is read by nothing and would be lost; if that is right, \
             give --ignore hint"
        ),
    );
    assert!(!Path::new(&out).exists());
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        1,
        "no temporary file"
    );
    let counts = converted(&format!("{path} --out {out} --ignore hint")).unwrap();
    assert_eq!(
        counts.lines(Path::new("out.jsonl")),
        [
            "out.jsonl: 1 rows written of 2 read; dropped: empty answer (1)",
            "out.jsonl: fields that are not in it (rows): hint (1)",
            "out.jsonl: 1 prompts were texts and are user turns now: under model.template = \"raw\" \
             they would be written as a conversation",
            "out.jsonl: 1 inputs are joined to their instructions, as chat templates have them; \
             Alpaca's template would keep them apart",
        ]
    );
    let counts = converted(&format!(
        "{path} --out {out} --ignore hint --to prompt --force"
    ))
    .unwrap();
    assert_eq!((counts.n_written, counts.n_answers), (2, 1));
}

#[test]
fn a_bad_row_stops_it_as_it_stops_a_stage() {
    let (dir, path) = file(
        "rows.jsonl",
        "{\"prompt\": \"a\", \"completion\": \"1\"}\n{\"prompt\": 2}\n",
    );
    let out = text(&dir.path().join("out.jsonl"));
    let error = converted(&format!("{path} --out {out}"))
        .unwrap_err()
        .to_string();
    let stage = data::demonstrations(Path::new(&path), Format::Auto).unwrap_err();
    assert_eq!(error, stage.to_string());
    std::fs::write(&path, "{\"prompt\": \"a\", \"completion\": \" \"}\n").unwrap();
    refused(
        converted(&format!("{path} --to messages --out {out}")),
        &format!("{path}: none of its rows can be written: empty answer (1)"),
    );
    assert!(!Path::new(&out).exists());
}

#[test]
fn files_are_compressed_by_their_names_and_the_same_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let source = shape("messages.jsonl");
    let mut plain = Vec::new();
    for ending in ["jsonl", "jsonl.gz", "jsonl.zst"] {
        let [one, other] =
            ["one", "other"].map(|n| text(&dir.path().join(format!("{n}.{ending}"))));
        for out in [&one, &other] {
            converted(&format!("{source} --out {out}")).unwrap();
        }
        let bytes = std::fs::read(&one).unwrap();
        assert_eq!(bytes, std::fs::read(&other).unwrap(), "{ending}");
        let begin: &[u8] = match ending {
            "jsonl" => b"{",
            "jsonl.gz" => b"\x1f\x8b",
            _ => b"\x28\xb5\x2f\xfd",
        };
        assert!(bytes.starts_with(begin), "{ending}");
        plain.push(seen(&one, Stage::Sft));
    }
    assert_eq!(plain[0].len(), 5);
    assert!(plain.iter().all(|rows| *rows == plain[0]));
}

#[test]
fn nothing_is_overwritten() {
    let (dir, path) = file("rows.jsonl", "{\"prompt\": \"a\", \"completion\": \"1\"}\n");
    let before = std::fs::read(&path).unwrap();
    let error = converted(&format!("{} --out {path}", shape("messages.jsonl"))).unwrap_err();
    assert!(
        error.to_string().contains("exists; choose another --out"),
        "{error}"
    );
    refused(
        converted(&format!("{path} --out {path} --force")),
        &format!("--out {path} is one of the files that are read"),
    );
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let out = text(&dir.path().join("rows.json"));
    refused(
        converted(&format!("{path} --out {out}")),
        &format!("--out {out}: the name must end in .jsonl, .jsonl.gz or .jsonl.zst"),
    );
}
