//! Refused, unused and ignored fields.

use super::{converted, file, inspected, text};
use crate::common::refused;
use inspect::Stage;

const ROW: &str = "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \
                   \"assistant\", \"content\": \"b\", \"images\": [{\"name\": \"x\"}]}], \
                   \"label\": true, \"hint\": \"h\"}\n";

const WHY: &str = "field \"label\" grades or weighs the row, and nothing here reads it; keep only the \
                   rows whose answers are to be learnt, without the field; field \
                   \"messages[].images\" belongs to the prompt, and there is no place for it \
                   here; remove such rows or the field, or give --ignore";

#[test]
fn all_refused_fields_of_a_row_are_named_with_the_option() {
    let (_dir, path) = file("rows.jsonl", ROW);
    let report = inspected(&path).unwrap();
    let sft = &report.stages[Stage::Sft as usize];
    assert_eq!(
        sft.refused[0].reason,
        format!("{WHY} 'messages[].images' to use the rows without it")
    );
    let page = report.text(false);
    assert!(!page.contains("data.ignore"), "{page}");
    let squeezed = page.split_whitespace().collect::<Vec<_>>().join(" ");
    let next = "; the fields: --ignore 'messages[].images'";
    assert!(squeezed.ends_with(next), "{page}");
    assert!(
        squeezed.contains("rlhf stops as sft does, see refused"),
        "{page}"
    );
    // what is ignored already stays in the option
    let report = inspected(&format!("{path} --ignore label")).unwrap();
    let reason = &report.stages[Stage::Sft as usize].refused[0].reason;
    assert!(
        reason.contains("--ignore 'label,messages[].images'"),
        "{reason}"
    );
}

#[test]
fn ignored_fields_are_listed_as_such_inside_others_too() {
    let (_dir, path) = file("rows.jsonl", ROW);
    for inner in ["images", "messages[].images"] {
        let report = inspected(&format!("{path} --ignore label,{inner}")).unwrap();
        let fields = report.fields.iter();
        let fields: Vec<_> = fields
            .map(|f| (f.name.as_str(), f.rows, f.becomes))
            .collect();
        let expected = [
            ("messages", 1, "used"),
            ("label", 1, "ignored"),
            ("messages[].images", 1, "ignored"),
            ("hint", 1, "unused"),
        ];
        assert_eq!(fields, expected);
    }
}

#[test]
fn convert_names_everything_that_would_be_lost_at_once() {
    let (dir, path) = file("rows.jsonl", ROW);
    let out = text(&dir.path().join("out.jsonl"));
    refused(
        converted(&format!("{path} --out {out}")),
        &format!("{path}: row 1: {WHY} 'messages[].images,hint' to use the rows without it"),
    );
    let all = "label,messages[].images,hint";
    assert_eq!(
        converted(&format!("{path} --out {out} --ignore {all}"))
            .unwrap()
            .n_written,
        1
    );
    std::fs::write(
        &path,
        "{\"prompt\": \"a\", \"completion\": \"b\", \"y\": 1, \"z\": 2}\n",
    )
    .unwrap();
    refused(
        converted(&format!("{path} --out {out} --force --ignore x")),
        &format!(
            "{path}: row 1: fields \"y\", \"z\" are read by nothing and would be lost; if that is \
             right, give --ignore x,y,z"
        ),
    );
}
