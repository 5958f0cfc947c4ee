//! `wick data convert`: the same records, in our JSON Lines.

use super::{converted, file, inspected, shape, shapes, text};
use crate::common::refused;
use crate::data::tokens::encoder;
use data::{Demonstration, Example, Format, Preference, Prompt, Template};
use inspect::Stage;
use std::path::Path;

/// Under a template that changes no text.
fn chat_encoder() -> data::Encoder {
    let source = "{% if tools %}{{ tools | tojson }}{% endif %}\
                  {% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content or '' }}\
                  {% for call in m.tool_calls or [] %}{{ call.function | tojson }}{% endfor %}\
                  <|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
    let template = Template::Chat {
        source: source.to_string(),
        bos: "<s>".to_string(),
        eos: "</s>".to_string(),
        date: None,
    };
    encoder(template, true)
}

/// The sequences that training makes of records, every answer learnt: their tokens, the learnt
/// ones, the prompt's identity.
fn learnt(path: &str, stage: Stage) -> Vec<Vec<Example>> {
    let (path, encoder) = (Path::new(path), chat_encoder());
    match stage {
        Stage::Sft => {
            let rows = data::demonstrations(path, Format::Auto).unwrap().items;
            let row = |row: &Demonstration| encoder.conversation(row).unwrap();
            rows.iter().map(row).collect()
        }
        Stage::Rm => {
            let rows = data::preferences(path, Format::Auto).unwrap().items;
            let row = |p: &Preference| {
                let answers = [&p.chosen, &p.rejected];
                answers.map(|text| encoder.example(&p.prompt, text).unwrap())
            };
            rows.iter().map(|pair| row(pair).to_vec()).collect()
        }
        Stage::Rlhf => {
            let rows = data::prompts(path, Format::Auto).unwrap().items;
            let row = |prompt: &Prompt| {
                let ids = encoder.prompt(prompt).unwrap();
                let n = ids.len();
                let key = prompt.key();
                vec![Example {
                    key,
                    ..Example::new(ids, n)
                }]
            };
            rows.iter().map(row).collect()
        }
    }
}

#[test]
fn of_what_is_written_the_same_tokens_are_learnt() {
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
        let before = learnt(&path, report.stage);
        assert_eq!(before.len(), facts.records as usize, "{path}");
        assert_eq!(learnt(&out, report.stage), before, "{path}");
        n_converted += 1;
    }
    assert!(n_converted >= 12, "{n_converted}");
}

/// Converts the rows, and returns what was written. The same is learnt of it as of them.
#[track_caller]
fn unchanged(rows: &str, stage: Stage) -> String {
    let (dir, path) = file("rows.jsonl", rows);
    let out = text(&dir.path().join("out.jsonl"));
    converted(&format!("{path} --out {out}")).unwrap();
    let before = learnt(&path, stage);
    assert_eq!(before.len(), rows.lines().count());
    assert_eq!(learnt(&out, stage), before);
    std::fs::read_to_string(&out).unwrap()
}

#[test]
fn answers_of_weight_zero_stay_context() {
    let row = |weight: &str| {
        let first = format!(r#"{{"role": "assistant", "content": "b"{weight}}}"#);
        format!(
            r#"{{"messages": [{{"role": "user", "content": "a"}}, {first}, {{"role": "user", "content": "c"}}, {{"role": "assistant", "content": "d"}}]}}"#
        )
    };
    let rows = [row(r#", "weight": 0"#), row(r#", "weight": 1"#)].join("\n");
    let written = unchanged(&rows, Stage::Sft);
    let turn = r#"{"role":"assistant","content":"b","weight":0}"#;
    assert_eq!(written.matches(turn).count(), 1, "{written}");
    assert_eq!(written.matches("weight").count(), 1, "{written}");
    let (_dir, path) = file("rows.jsonl", &rows);
    let n_learnt = learnt(&path, Stage::Sft)
        .iter()
        .map(|row| row.iter().flat_map(Example::labels).count())
        .collect::<Vec<_>>();
    assert_eq!(n_learnt, [1, 2]);
    // in a prompt, too
    let pair = r#"{"prompt": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 0}, {"role": "user", "content": "c"}], "chosen": "d", "rejected": "e"}"#;
    assert!(unchanged(pair, Stage::Rm).contains(turn));
}

/// In a text of JSON a null is kept, and outside it left out.
#[test]
fn nulls_in_tools_and_calls_stay() {
    let row = |tools: &str, calls: &str| {
        let asked = r#"{"role": "user", "content": "a"}"#;
        format!(
            r#"{{"messages": [{asked}, {{"role": "assistant", "content": null, "tool_calls": {calls}}}], "tools": {tools}}}"#
        )
    };
    let text = |json: &str| serde_json::Value::from(json).to_string();
    let tool = |parameters: &str| {
        format!(r#"[{{"type":"function","function":{{"name":"now","parameters":{parameters}}}}}]"#)
    };
    let call = |more: &str, arguments: &str| {
        format!(
            r#"[{{"type":"function",{more}"function":{{"name":"now","arguments":{arguments}}}}}]"#
        )
    };
    let (null, other) = (r#"{"at":[null,{"x":null}]}"#, r#"{"at":[1]}"#);
    for (tools, calls, expected) in [
        (
            text(&tool(null)),
            call("", &text(null)),
            [text(&tool(null)), call("", &text(null))],
        ),
        (
            tool(other),
            text(&call("", null)),
            [tool(other), call("", &text(null))],
        ),
        (
            tool(null),
            text(&call(r#""id":null,"#, other)),
            [
                tool(r#"{"at":[null,{}]}"#),
                text(&call(r#""id":null,"#, other)),
            ],
        ),
    ] {
        let written = unchanged(&row(&tools, &calls), Stage::Sft);
        for part in &expected {
            assert!(written.contains(part), "{part} is not in {written}");
        }
    }
}

#[test]
fn after_a_transcript_no_blank_is_learnt() {
    let asked = r#""prompt": "\n\nHuman: 7 × 8?\n\nAssistant:""#;
    for (rest, stage, written) in [
        (
            r#""chosen": " 56 ", "rejected": "\n54""#,
            Stage::Rm,
            r#""chosen":"56 ","rejected":"54""#,
        ),
        (
            r#""completion": "  56""#,
            Stage::Sft,
            r#"{"role":"assistant","content":"56"}"#,
        ),
    ] {
        let rows = unchanged(&format!("{{{asked}, {rest}}}"), stage);
        assert!(rows.contains(written), "{rows}");
    }
    // elsewhere the blank is learnt
    let rows = unchanged(
        r#"{"prompt": "The sky is", "completion": " blue."}"#,
        Stage::Sft,
    );
    assert!(rows.contains(r#""content":" blue.""#), "{rows}");
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
        plain.push(learnt(&one, Stage::Sft));
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
