//! The rows of every shape of data: ids and labels are those of TRL and transformers, but for rows
//! that differ by design, which are counted here.

use super::golden_rows::{Records, SHAPES, Shape, encoder, last, pair, read, whole};
use data::{Demonstration, Encoder, Example};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Range;
use testkit::{golden, golden_json};
use tokenizers::Tokenizer;

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

/// Every fourth shape from `first`, with their counts for a tokenizer: none but these differ.
#[track_caller]
fn check(first: usize, name: &str, tokenizer: &Tokenizer, expected: &[(&str, &str, usize)]) {
    for (shape, format) in SHAPES.into_iter().skip(first).step_by(4) {
        let found = Shape::read(shape, format).check(name, tokenizer);
        let of_shape = expected.iter().filter(|(of, ..)| *of == shape);
        let expected = of_shape.map(|(_, what, n)| (format!("{name} {what}"), *n));
        assert_eq!(found, expected.collect::<BTreeMap<_, _>>(), "{shape}");
    }
}

fn small() -> Tokenizer {
    Tokenizer::from_file(golden("shapes/tokenizer.json")).unwrap()
}

/// A line break before an answer is one token with that of its header, and white space after an
/// answer is not learnt. Llama 3's template cuts both.
const SMALL: [(&str, &str, usize); 4] = [
    ("messages-blanks", "chatml last", 164),
    ("messages-blanks", "chatml all", 186),
    ("messages-blanks", "smollm3 last", 143),
    ("messages-blanks", "smollm3 all", 173),
];

#[test]
fn rows_by_a_byte_level_tokenizer() {
    check(0, "small", &small(), &SMALL);
}

#[test]
fn more_rows_by_a_byte_level_tokenizer() {
    check(1, "small", &small(), &SMALL);
}

#[test]
fn other_rows_by_a_byte_level_tokenizer() {
    check(2, "small", &small(), &SMALL);
}

#[test]
fn further_rows_by_a_byte_level_tokenizer() {
    check(3, "small", &small(), &SMALL);
}

/// The line break of the header is one token with the beginning of some answers.
const PREPEND: [(&str, &str, usize); 35] = [
    ("messages", "chatml last", 17),
    ("messages", "chatml all", 26),
    ("messages-blanks", "chatml last", 164),
    ("messages-blanks", "chatml all", 186),
    ("messages-parts", "chatml last", 13),
    ("messages-parts", "chatml all", 30),
    ("sharegpt", "chatml last", 10),
    ("sharegpt", "chatml all", 17),
    ("tools", "qwen2.5 last", 13),
    ("tools", "qwen2.5 all", 21),
    ("tools-sharegpt", "qwen2.5 last", 6),
    ("tools-sharegpt", "qwen2.5 all", 10),
    ("alpaca-history", "chatml last", 22),
    ("alpaca-history", "chatml all", 27),
    ("prompt-completion", "chatml last", 5),
    ("prompt-completion", "chatml all", 5),
    ("prompt-completion-messages", "chatml last", 10),
    ("prompt-completion-messages", "chatml all", 21),
    ("transcripts", "chatml last", 17),
    ("transcripts", "chatml all", 26),
    ("kto", "chatml last", 12),
    ("kto", "chatml all", 12),
    ("kto-messages", "chatml last", 13),
    ("kto-messages", "chatml all", 25),
    ("preference", "chatml pair", 10),
    ("preference-messages", "chatml pair", 26),
    ("preference-implicit", "chatml pair", 24),
    ("llama-factory-preference", "chatml pair", 25),
    ("llama-factory-sharegpt-preference", "chatml pair", 32),
    ("ultrafeedback-binarized", "chatml pair", 18),
    ("ultrafeedback", "chatml pair", 59),
    ("hh", "chatml pair", 22),
    ("transcripts-preference", "chatml pair", 21),
    ("comparison-v1", "chatml pair", 27),
    ("comparison-v2", "chatml pair", 34),
];

#[test]
fn rows_by_a_sentencepiece_tokenizer() {
    let tokenizer = &golden_json("chat.json")["tokenizers"]["prepend"];
    let tokenizer = Tokenizer::from_bytes(tokenizer.to_string()).unwrap();
    for first in 0..4 {
        check(first, "prepend", &tokenizer, &PREPEND);
    }
}

/// Compares the records that the golden file has as they are. Returns how many of them differ
/// by design.
fn check_full(shape: &Shape, small: &Tokenizer) -> usize {
    let full = shape.golden["full"].as_array().unwrap();
    assert_eq!(full.len(), 21);
    let mut n_differing = 0;
    for entry in full {
        let at = usize::try_from(entry["record"].as_u64().unwrap()).unwrap();
        let label = entry["template"].as_str().unwrap();
        let template = label.split_once(' ').unwrap().1;
        let [plain, tagged] = [false, true].map(|tags| encoder(small, template, tags));
        let what = format!("{} record {at} {label}", shape.name);
        match &shape.records {
            Records::Demonstrations(rows) => {
                let [last_differs, all_differs] =
                    ["last", "all"].map(|learnt| shape.by_design(label, learnt).contains(&at));
                n_differing += usize::from(last_differs || all_differs);
                let differs = [last_differs, all_differs];
                check_demonstration(&rows[at], [&plain, &tagged], entry, differs, &what);
            }
            Records::Preferences(rows) => {
                let made = pair(&plain, &rows[at]);
                let parts = ["prompt", "chosen", "rejected"];
                let wanted = parts.map(|part| ids(&entry[part]));
                assert_eq!(made, wanted, "{what}");
            }
            Records::Prompts(rows) => {
                let made = plain.prompt(&rows[at]).unwrap();
                assert_eq!(made, ids(&entry["prompt"]), "{what}");
            }
        }
    }
    n_differing
}

/// `encoders`: without tags, and with them. `differs`: by design, if the last answer is learnt, and
/// if all are.
fn check_demonstration(
    row: &Demonstration,
    [plain, tagged]: [&Encoder; 2],
    entry: &Value,
    [last_differs, all_differs]: [bool; 2],
    what: &str,
) {
    let known = ids(&entry["ids"]);
    let answers = spans(&entry["answers"]);
    let labels = |example: &Example| example.labels().collect::<Vec<_>>();
    let example = last(plain, row);
    let same = (&example.ids, &labels(&example)[..]) == (&known, &answers[answers.len() - 1..]);
    assert_eq!(same, !last_differs, "{what}: {example:?} {entry}");
    let example = whole(plain, row);
    let same = example.is_some_and(|e| (&e.ids, labels(&e)) == (&known, answers.clone()));
    assert_eq!(same, !all_differs, "{what}: {entry}");
    let example = whole(tagged, row).expect(what);
    let is_plain = what.ends_with(" plain");
    let tags = entry.get("tags").map_or(answers, spans);
    let end = tags.last().unwrap().end;
    let text = [known, ids(&entry["after"])].concat();
    if !is_plain {
        assert_eq!(example.ids, text[..end], "{what}");
        assert_eq!(labels(&example), tags, "{what}");
    }
}

fn spans(value: &Value) -> Vec<Range<usize>> {
    let pairs: Vec<[usize; 2]> = serde_json::from_value(value.clone()).unwrap();
    pairs.into_iter().map(|[start, end]| start..end).collect()
}

#[test]
fn records_are_equal_value_by_value() {
    for (name, format) in SHAPES {
        let shape = Shape::read(name, format);
        let n_differing = if name == "messages-blanks" { 12 } else { 0 };
        assert_eq!(check_full(&shape, &small()), n_differing, "{name}");
    }
}

/// What is said of the rows of every shape: nothing but which turns are not learnt.
#[test]
fn nothing_else_is_said_of_the_rows() {
    for (name, format) in SHAPES {
        let kind = Shape::read(name, format).golden["kind"].clone();
        let (_, notes) = read(name, kind.as_str().unwrap(), format);
        let expected = match name {
            "messages" => "150 earlier assistant turns are context only",
            "messages-blanks" => "145 earlier assistant turns are context only",
            "messages-parts" => "162 earlier assistant turns are context only",
            "sharegpt" | "alpaca-history" => "152 earlier assistant turns are context only",
            "prompt-completion-messages" => "156 earlier assistant turns are context only",
            "transcripts" => "158 earlier assistant turns are context only",
            "kto-messages" => "172 earlier assistant turns are context only",
            "tools" => "400 earlier assistant turns are context only",
            "tools-sharegpt" => "362 earlier assistant turns are context only",
            "fastchat" => "98 later turns of questions are not used",
            "ultrafeedback" | "comparison-v2" => "fields that are not used (rows)",
            _ => "",
        };
        let found = notes.iter().map(|note| note.split(':').next().unwrap());
        // the answers that TRL's KTO would unlearn, and tools in a text
        let other = match name {
            "kto" => "105 rows whose \"label\" is false are learnt, too",
            "kto-messages" => "93 rows whose \"label\" is false are learnt, too",
            "tools" | "tools-sharegpt" => "fields that hold turns or lists as text of JSON (rows)",
            _ => "",
        };
        let expected = [other, expected].into_iter().filter(|e| !e.is_empty());
        let expected: Vec<&str> = expected.collect();
        assert_eq!(found.collect::<Vec<_>>(), expected, "{name}");
    }
}
