//! Errors of the readers: one line with file, row and field.

use super::file;
use data::Format;
use std::path::Path;

#[derive(Clone, Copy)]
pub enum Read {
    Demonstrations,
    Preferences,
    Prompts,
}

/// What reading the file says after `data/NAME: `.
pub fn error(read: Read, format: Format, name: &str, content: &[u8]) -> String {
    let (_dir, path) = file(name, content);
    let error = match read {
        Read::Demonstrations => data::demonstrations(&path, format).map(drop),
        Read::Preferences => data::preferences(&path, format).map(drop),
        Read::Prompts => data::prompts(&path, format).map(drop),
    };
    let text = error.unwrap_err().to_string();
    let start = format!("{}: ", path.display());
    text.strip_prefix(&start).unwrap_or(&text).to_string()
}

pub const ROW: &str = r#"{"instruction": "a", "output": "b"}"#;
const EXPECTED: &str = "expected a JSON array of objects, or one JSON object per line";

#[test]
fn broken_files_are_reported_with_the_row() {
    #[track_caller]
    fn check(name: &str, content: impl AsRef<[u8]>, expected: &str) {
        let found = error(Read::Demonstrations, Format::Auto, name, content.as_ref());
        assert_eq!(found, expected.replace("EXPECTED", EXPECTED));
    }
    check("x.json", "", "is empty; EXPECTED");
    check("x.json", " \n ", "is empty; EXPECTED");
    check("x.json", "[]", "has no rows");
    check("x.txt", "\n\n", "has no rows");
    check("x.json", b"\x89PNG\r\n", "is not JSON; EXPECTED");
    let truncated = "ends in the middle of an object; the file is truncated";
    let content = format!("[{ROW}, {ROW}, {{\"instruction\": \"a");
    check("x.json", content, &format!("row 3: {truncated}"));
    check("x.json", format!("[{ROW}"), &format!("row 2: {truncated}"));
    let content = format!("{ROW}\n{{\"instruction\": \"a");
    let spans = format!("row 2: {truncated}, or an object spans lines (EXPECTED)");
    check("x.jsonl", content, &spans);
    let place = "row 3: is not JSON: expected ident at column 2; EXPECTED";
    check("x.jsonl", format!("{ROW}\n\nnope\n"), place);
    let place = "row 2: is not JSON: expected `,` or `]` at line 1 column 38";
    check("x.json", format!("[{ROW} {ROW}]"), place);
    let number = "row 2: is a number, not an object with named fields";
    check("x.json", format!("[{ROW}, 7]"), number);
    let content = format!("[{ROW}, {{\"instruction\": \"a\"}}]");
    let missing = "row 2: field \"output\" is missing; Alpaca rows have instruction, input, output";
    check("x.json", content, missing);
}

#[test]
fn a_key_that_is_there_twice_is_refused_with_the_row() {
    #[track_caller]
    fn check(name: &str, twice: &str, key: &str) {
        // of a line the column alone, of an array the line of the file, too
        for (name, content, place) in [
            (
                format!("{name}.json"),
                format!("[{ROW},\n{twice}]"),
                "line 2",
            ),
            (
                format!("{name}.jsonl"),
                format!("{ROW}\n{twice}\n"),
                "column",
            ),
        ] {
            let found = error(Read::Prompts, Format::Auto, &name, content.as_bytes());
            let begin = format!("row 2: has the key \"{key}\" twice at {place} ");
            assert!(found.starts_with(&begin), "{found}");
            assert!(found.ends_with("; remove one of them"), "{found}");
        }
    }
    let twice = r#"{"instruction": "a", "output": "b", "output": "c"}"#;
    check("row", twice, "output");
    // an escape is the same key, and the same value is no excuse
    let escaped = r#"{"instruction": "a", "instr\u0075ction": "a", "output": "b"}"#;
    check("escaped", escaped, "instruction");
    let turn = r#"{"messages": [{"role": "user", "content": "a", "role": "system"}]}"#;
    check("turn", turn, "role");
    let unread = r#"{"instruction": "a", "output": "b", "meta": {"x": [{"y": 1, "y": 1}]}}"#;
    check("unread", unread, "y");
}

#[test]
fn half_a_character_is_named_with_what_to_do() {
    for (half, column) in [
        (r"\ud83d", 25),
        (r"\uD83D and more", 25),
        (r"\ud83d\n", 26),
        (r"\ude00", 24),
        (r"\ud83d\ud83d", 30),
    ] {
        let row = format!(r#"{{"instruction": "a{half}", "output": "b"}}"#);
        for (name, content, place) in [
            ("x.json", format!("[{ROW},\n{row}]"), "line 2 column"),
            ("x.jsonl", format!("{ROW}\n{row}\n"), "column"),
        ] {
            let found = error(Read::Prompts, Format::Auto, name, content.as_bytes());
            let expected = format!(
                "row 2: has an unpaired surrogate at {place} {column} (an escape from \\ud800 to \
                 \\udfff is half a character); write the whole character, or remove the half"
            );
            assert_eq!(found, expected, "{half}");
        }
    }
    let whole = r#"{"instruction": "a\ud83d\ude00", "output": "b"}"#;
    let (_dir, path) = file("x.jsonl", whole);
    let read = data::demonstrations(&path, Format::Auto).unwrap();
    assert_eq!(read.items[0].prompt.ask.text(), "a😀");
}

#[test]
fn text_that_is_not_utf_8_is_reported_with_the_row() {
    #[track_caller]
    fn check(name: &str, before: &str, after: &str, row: usize) {
        let content = [before.as_bytes(), b"\xe9", after.as_bytes()].concat();
        let found = error(Read::Demonstrations, Format::Auto, name, &content);
        let expected = format!("row {row}: is not UTF-8 text; convert the file to UTF-8");
        assert_eq!(found, expected);
    }
    check("x.json", "[{\"instruction\": \"", "\"}]", 1);
    let before = format!("{ROW}\n{{\"instruction\": \"");
    check("x.jsonl", &before, "\"}", 2);
    check("x.txt", "one\n", "\n", 2);
}

#[test]
fn wrong_fields_are_named() {
    #[track_caller]
    fn check(read: Read, format: Format, row: &str, expected: &str) {
        let rows = match format {
            Format::Alpaca => "Alpaca rows have instruction, input, output",
            Format::Chat => "chat rows have messages: a list of {role, content}",
            Format::ComparisonV2 => {
                "comparison (version 2) rows have user_input, responses_and_scores: \
                 a list of {response, score}"
            }
            Format::Hh => {
                "HH rows have chosen, rejected: \
                 transcripts of \"\\n\\nHuman: …\\n\\nAssistant: …\""
            }
            Format::Pairs => "pairs rows have prompt (a string or messages), chosen, rejected",
            _ => "FastChat question rows have question_id, text (or turns), category",
        };
        let found = error(read, format, "x.jsonl", row.as_bytes());
        assert_eq!(found, format!("row 1: field {expected}; {rows}"));
    }
    use Read::*;
    let row = r#"{"instruction": "a"}"#;
    let missing = "\"output\" is missing";
    check(Demonstrations, Format::Alpaca, row, missing);
    let row = r#"{"instruction": ["a"], "output": "b"}"#;
    let list = "\"instruction\" is a list, not a string";
    check(Demonstrations, Format::Alpaca, row, list);
    let row = r#"{"instruction": "a", "output": null}"#;
    let null = "\"output\" is null, not a string";
    check(Prompts, Format::Alpaca, row, null);
    let row = r#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant"}]}"#;
    let missing = "\"messages[1].content\" is missing";
    check(Demonstrations, Format::Chat, row, missing);
    let string = "\"messages\" is a string, not a list";
    check(
        Demonstrations,
        Format::Chat,
        r#"{"messages": "hi"}"#,
        string,
    );
    let row =
        r#"{"user_input": "q", "responses_and_scores": [{"response": "a", "score": "good"}]}"#;
    let score = "\"responses_and_scores[0].score\" is \"good\", not a number";
    check(Preferences, Format::ComparisonV2, row, score);
    let row = r#"{"chosen": "yes", "rejected": "no"}"#;
    let start = "\"chosen\" does not begin with \"\\n\\nHuman:\", and answers alone need a field \
                 \"prompt\"";
    check(Preferences, Format::Hh, row, start);
    let row = r#"{"prompt": "q", "chosen": [{"role": "user", "content": "a"}], "rejected": "b"}"#;
    let end = "\"chosen\" does not end with an assistant turn";
    check(Preferences, Format::Pairs, row, end);
    let row = r#"{"question_id": 1, "turns": []}"#;
    let turns = "\"turns\" does not begin with a string";
    check(Prompts, Format::Fastchat, row, turns);
}

#[test]
fn an_unknown_format_is_reported_with_the_known_ones() {
    let (_dir, path) = file("x.json", r#"[{"ask": "a", "reply": "b"}]"#);
    let error = data::demonstrations(&path, Format::Auto)
        .unwrap_err()
        .to_string();
    let start = "x.json: row 1: fields ask, reply fit no known format; looked for ";
    assert!(error.contains(start), "{error}");
    let missing = data::demonstrations(Path::new("no/such.json"), Format::Auto).unwrap_err();
    assert!(
        missing
            .to_string()
            .starts_with("no/such.json: cannot be read: "),
        "{missing}"
    );
    // of a directory, its files are read
    let directory = data::demonstrations(path.parent().unwrap(), Format::Auto).unwrap_err();
    assert!(directory.to_string().contains(start), "{directory}");
}

/// A stage lists the formats that it reads, and no other.
#[test]
fn an_unknown_format_is_reported_with_those_that_the_stage_reads() {
    const NAMES: [&str; 18] = [
        "comparison (version 2) (",
        "comparison (version 1) (",
        "UltraFeedback (",
        "OpenAI preference (",
        "PKU-SafeRLHF (",
        "SHP (",
        "arena (",
        "ranked answers (",
        "Alpaca (",
        "pairs (",
        "HH (",
        "chat (",
        "FastChat question (",
        "KTO (",
        "question/answer (",
        "prompt/completion (",
        "transcript (",
        "text (",
    ];
    for (read, known) in [
        (
            Read::Demonstrations,
            &[
                "Alpaca (",
                "chat (",
                "KTO (",
                "question/answer (",
                "prompt/completion (",
                "text (",
                "transcript (",
            ][..],
        ),
        (
            Read::Preferences,
            &[
                "comparison (version 2) (",
                "comparison (version 1) (",
                "UltraFeedback (",
                "OpenAI preference (",
                "PKU-SafeRLHF (",
                "SHP (",
                "arena (",
                "ranked answers (",
                "pairs (",
                "HH (",
            ],
        ),
        (Read::Prompts, &NAMES[..17]),
    ] {
        let row = br#"{"ask": "a", "reply": "b"}"#;
        let found = error(read, Format::Auto, "x.jsonl", row);
        let start = "row 1: fields ask, reply fit no known format; looked for ";
        let list = found.strip_prefix(start).expect(&found);
        let named: Vec<&str> = list.split("; ").collect();
        let starts = named.iter().map(|format| {
            let fits = |name: &&&str| format.starts_with(**name);
            *NAMES.iter().find(fits).expect(format)
        });
        assert_eq!(starts.collect::<Vec<_>>(), known);
    }
}

#[test]
fn what_is_wrong_with_a_row_is_said_as_it_is() {
    #[track_caller]
    fn check(read: Read, row: &str, expected: &str) {
        let found = error(read, Format::Auto, "x.jsonl", row.as_bytes());
        assert!(found.contains(expected), "{found}");
    }
    use Read::*;
    let turns = |roles: &[&str]| {
        let turn = |role: &&str| format!(r#"{{"role": "{role}", "content": "a"}}"#);
        let turns: Vec<String> = roles.iter().map(turn).collect();
        format!(r#"{{"messages": [{}]}}"#, turns.join(", "))
    };
    for (roles, reason) in [
        (
            &["user", "assistant", "assistant"][..],
            "conversation that ends with two assistant turns in a row (1)",
        ),
        (
            &["user", "system", "assistant"],
            "conversation with a system turn before its answer (1)",
        ),
        (
            &["assistant"],
            "conversation without a user turn before its answer (1)",
        ),
        (
            &["system", "assistant"],
            "conversation without a user turn before its answer (1)",
        ),
        (
            &["assistant", "user"],
            "conversation without a user turn before its answer (1)",
        ),
        (
            &["system", "user", "user"],
            "conversation that does not end with an assistant turn (1)",
        ),
    ] {
        check(Demonstrations, &turns(roles), reason);
    }
    for fields in [
        ["response_a", "response_b", "preferred"],
        ["response_1", "response_2", "preference"],
    ] {
        let [one, other, better] = fields;
        let row = format!(r#"{{"prompt": "q", "{one}": "a", "{other}": "b", "{better}": "a"}}"#);
        let start = "row 1: fields ";
        let end = "prompt, response_";
        check(Preferences, &row, start);
        check(Preferences, &row, end);
        let formats = "fit no format of pairs; looked for comparison (version 2)";
        check(Preferences, &row, formats);
    }
    let row = r#"{"prompt": "q", "completion": "a"}"#;
    check(
        Preferences,
        row,
        "holds demonstrations (prompt/completion rows)",
    );
    let list = "field \"rejected\" is a list of 2 texts, but a row has one; write a row for each";
    let row = r#"{"prompt": "q", "chosen": "a", "rejected": ["b", "c"]}"#;
    check(Preferences, row, list);
    for (field, read) in [("messages", Demonstrations), ("conversations", Prompts)] {
        let row = format!(r#"{{"{field}": ["hi", "ho"]}}"#);
        let item = format!("field \"{field}[0]\" is a string, not an object");
        check(read, &row, &item);
    }
}

#[test]
fn utf_16_is_named() {
    let units = |text: &str| text.encode_utf16().collect::<Vec<u16>>();
    for text in [
        format!("\u{feff}{ROW}"),
        ROW.to_string(),
        format!("[{ROW}]"),
    ] {
        let little: Vec<u8> = units(&text).iter().flat_map(|u| u.to_le_bytes()).collect();
        let big: Vec<u8> = units(&text).iter().flat_map(|u| u.to_be_bytes()).collect();
        for bytes in [little, big] {
            for read in [Read::Demonstrations, Read::Prompts] {
                let found = error(read, Format::Auto, "x.jsonl", &bytes);
                let expected = "is UTF-16 text; convert the file to UTF-8, as with `iconv -f UTF-16 \
                                -t UTF-8`";
                assert_eq!(found, expected);
            }
        }
    }
}
