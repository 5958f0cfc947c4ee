//! Quirks of published data: what needs no note, and what costs a row and not the file.

use super::file;
use super::templates::chat_template;
use super::tokens::{byte_tokenizer, encoder};
use crate::common::{chat, instruction};
use data::{Ask, Demonstration, Encoder, Format, Prompt, ReadOptions, TrainOn};
use serde_json::{Value, json};

const CHATML: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n\
                      {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// The same with tags around the answers and their end tokens.
fn tagged() -> String {
    CHATML.replace(
        "{{ m.content }}<|im_end|>",
        "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}\
         {% else %}{{ m.content }}<|im_end|>{% endif %}",
    )
}

fn lines(rows: &[Value]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

type Pair = (Ask, String, String);

/// The pairs of the rows, why rows were dropped, and the notes; or the error after the file's name.
fn pairs(rows: &[Value]) -> Result<(Vec<Pair>, String, Vec<String>), String> {
    let (_dir, path) = file("x.jsonl", lines(rows));
    let shown = format!("{}: ", path.display());
    let loaded = data::preferences(&path, Format::Auto);
    let loaded = loaded.map_err(|e| e.to_string().replace(&shown, ""))?;
    let items = loaded.items.into_iter();
    let pairs = items.map(|p| (p.prompt.ask, p.chosen, p.rejected));
    let dropped = format!("{:?}", loaded.counts.dropped);
    let name = path.display().to_string();
    let notes = loaded.counts.notes.iter();
    let notes = notes.map(|note| note.replace(&name, "x.jsonl"));
    Ok((pairs.collect(), dropped, notes.collect()))
}

/// The text that is learnt of an answer.
fn answer(encoder: &Encoder, prompt: &Prompt, text: &str) -> String {
    let example = encoder.example(prompt, text).unwrap();
    let ids = &example.ids[example.prompt_len..];
    byte_tokenizer().decode(ids, false).unwrap()
}

#[test]
fn answers_to_a_transcript_have_no_blank_before_them() {
    let transcript = "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:";
    let turns = chat(&[("user", "a"), ("assistant", "b"), ("user", "c")]);
    let encoder = encoder(chat_template(CHATML), false);
    let old = encoder.clone().for_old_runs();
    for field in ["prompt", "instruction", "question", "query"] {
        for (asked, ask, begin) in [(transcript, &turns, ""), ("a", &instruction("a", ""), " ")] {
            let row = json!({ field: asked, "chosen": " d\n", "rejected": " e" });
            let (_dir, path) = file("x.jsonl", lines(&[row]));
            let pair = data::preferences(&path, Format::Auto)
                .unwrap()
                .items
                .remove(0);
            assert_eq!(&pair.prompt.ask, ask, "{field}");
            let found = [&pair.chosen, &pair.rejected].map(|a| answer(&encoder, &pair.prompt, a));
            assert_eq!(
                found,
                ["d", "e"].map(|a| format!("{begin}{a}<|im_end|>")),
                "{field}"
            );
            // an old run goes on as it began
            assert_eq!(answer(&old, &pair.prompt, " d"), " d<|im_end|>");
        }
    }
    for row in [
        json!({"prompt": transcript, "completion": " d"}),
        json!({"instruction": transcript, "output": " d"}),
        json!({"question": transcript, "answer": " d"}),
    ] {
        let (_dir, path) = file("x.jsonl", lines(std::slice::from_ref(&row)));
        let found = data::demonstrations(&path, Format::Auto)
            .unwrap()
            .items
            .remove(0);
        assert_eq!(found.prompt.ask, turns, "{row}");
        for template in [CHATML.to_string(), tagged()] {
            let expected = [["b<|im_end|>", "d<|im_end|>"]];
            assert_eq!(learnt(&template, &found), expected, "{row}");
        }
        // a method that learns from the data's own answers has them by the prompt
        let prompt = data::prompts(&path, Format::Auto).unwrap().items.remove(0);
        let reference = prompt.reference.clone().unwrap();
        assert_eq!(
            answer(&encoder, &prompt, &reference),
            "d<|im_end|>",
            "{row}"
        );
    }
}

#[test]
fn what_only_tells_rows_apart_or_repeats_them_needs_no_note() {
    let (user, good) = (json!({"role": "user", "content": "a"}), "b");
    let said = |text: &str| json!([user, {"role": "assistant", "content": text}]);
    let text = json!({"id": 7, "prompt_id": "7", "prompt": "a", "chosen": good, "rejected": "c"});
    let with = |row: &Value, messages: Value| {
        let mut row = row.clone();
        row["messages"] = messages;
        row
    };
    let mut system = said(good);
    system
        .as_array_mut()
        .unwrap()
        .insert(0, json!({"role": "system", "content": "s"}));
    let mut of_system = with(&text, system);
    of_system["system"] = "s".into();
    for (row, turns) in [
        (text.clone(), None),
        (with(&text, said(good)), None),
        (
            with(&of_system, said(good)),
            Some([("system", "s"), ("user", "a")]),
        ),
        (of_system.clone(), Some([("system", "s"), ("user", "a")])),
    ] {
        let ask = turns.map_or(instruction("a", ""), |turns| chat(&turns));
        let expected = vec![(ask, good.to_string(), "c".to_string())];
        assert_eq!(pairs(&[row]), Ok((expected, "{}".to_string(), Vec::new())));
    }
    // contents that are lists of parts, of a whole conversation
    let part = |text: &str| json!([{"type": "text", "text": text}]);
    let of_parts = json!({"chosen": said(good), "rejected": said("c"), "prompt": "a", "messages": [
        {"role": "user", "content": part("a")}, {"role": "assistant", "content": part(good)}]});
    let expected = vec![(chat(&[("user", "a")]), good.to_string(), "c".to_string())];
    assert_eq!(
        pairs(&[of_parts]),
        Ok((expected, "{}".to_string(), Vec::new()))
    );
    let (found, _, notes) = pairs(&[with(&text, said("other"))]).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(
        notes,
        [
            "fields that are not used (rows): \"messages\" (1); if that is right, set data.ignore = \
          [\"messages\"]"
        ]
    );
    // an id that is no name of a row is named
    let (_, _, notes) =
        pairs(&[json!({"id": {"x": 1}, "prompt": "a", "chosen": "b", "rejected": "c"})]).unwrap();
    assert!(
        notes[0].starts_with("fields that are not used (rows): \"id\" (1)"),
        "{notes:?}"
    );
    // of very many the first
    let mut row = json!({"prompt": "a", "chosen": "b", "rejected": "c"});
    for i in 0..25 {
        row[format!("x{i:02}")] = 1.into();
    }
    let (_, _, notes) = pairs(&[row]).unwrap();
    let (_, end) = notes[0].split_once("\"x18\" (1), ").unwrap();
    assert!(
        end.starts_with("\"x19\" (1), and 5 others; if that is right, "),
        "{notes:?}"
    );
}

#[test]
fn an_answer_that_is_json_is_a_turn_only_if_it_is_nothing_else() {
    let row = |answer: &Value| {
        let other = json!({"role": "assistant", "content": "c"}).to_string();
        json!({"prompt": "a", "chosen": answer.to_string(), "rejected": other})
    };
    let turn = json!({"role": "assistant", "content": "b"});
    let (found, _, notes) = pairs(&[row(&json!("b")), row(&turn)]).unwrap();
    assert_eq!(
        found[1],
        (instruction("a", ""), "b".to_string(), "c".to_string())
    );
    assert_eq!(
        notes,
        [
            "fields that hold turns or lists as text of JSON (rows): \"chosen\" (1; first: x.jsonl: row \
             2), \"rejected\" (2; first: x.jsonl: row 1); they are read as such"
        ]
    );
    for answer in [
        json!({"role": "admin", "content": "b"}),
        json!({"role": "assistant", "content": "b", "age": 3}),
        json!({"role": "assistant", "name": "b"}),
    ] {
        let (found, ..) = pairs(&[row(&answer)]).unwrap();
        assert_eq!(found[0].1, answer.to_string());
    }
}

#[test]
fn a_text_that_is_no_transcript_costs_its_row() {
    let row = |chosen: &str, rejected: &str| json!({"chosen": chosen, "rejected": rejected});
    let one = |text: &str| format!("\n\nHuman: a\n\nAssistant: {text}");
    let good = row(&one("b"), &one("c"));
    let bad = [
        row("b", &one("c")),
        row(&one("b"), "\n\nHuman: a"),
        row(&one("b"), " \n\nHuman: a\n\nAssistant: c"),
    ];
    let (found, dropped, notes) = pairs(&[&bad[..], &[good]].concat()).unwrap();
    let turns = chat(&[("user", "a")]);
    assert_eq!(found, [(turns, "b".to_string(), "c".to_string())]);
    let reasons = r#"{"text that does not begin with \"\\n\\nHuman:\"": 2, "text that has no \"\\n\\nAssistant:\" turn": 1}"#;
    assert_eq!(
        dropped.replace(r"\\n", r"\n"),
        reasons.replace(r"\\n", r"\n")
    );
    assert_eq!(notes, [""; 0]);
    // a file of nothing else is refused, with the fault of its first row
    let error = pairs(&bad).unwrap_err();
    let start = "row 1: field \"chosen\" does not begin with \"\\n\\nHuman:\", and answers alone \
                 need a field \"prompt\"";
    assert!(error.starts_with(start), "{error}");
    let texts = ["Once.", "### Human: a### Assistant: b"].map(|text| json!({ "text": text }));
    let (_dir, path) = file("x.jsonl", lines(&texts));
    let loaded = data::demonstrations(&path, Format::Transcript).unwrap();
    assert_eq!(loaded.items[0].response, "b");
    let reason = "text without turns of two speakers by turns".to_string();
    assert_eq!(loaded.counts.dropped, [(reason, 1)].into());
}

/// The texts that are learnt of each example of the row, under a template.
fn learnt(template: &str, row: &Demonstration) -> Vec<Vec<String>> {
    let (encoder, tokenizer) = (encoder(chat_template(template), false), byte_tokenizer());
    let examples = encoder.conversation(row).unwrap();
    assert!(
        examples
            .iter()
            .all(|example| example.key == row.prompt.key())
    );
    let texts = |example: &data::Example| {
        let ranges = example.labels();
        let texts = ranges.map(|r| tokenizer.decode(&example.ids[r], false).unwrap());
        texts.collect()
    };
    examples.iter().map(texts).collect()
}

#[test]
fn white_space_and_special_tokens_after_earlier_answers_are_cut() {
    let turns = [
        ("user", "1? "),
        ("assistant", "One.\n\n"),
        ("user", "2?"),
        ("assistant", "Two. </s>"),
        ("user", "3?"),
    ];
    let row = Demonstration {
        prompt: crate::common::prompt(chat(&turns)),
        response: "Three. \n".to_string(),
        fields: Default::default(),
    };
    let expected = [["One.<|im_end|>", "Two.<|im_end|>", "Three.<|im_end|>"]];
    assert_eq!(learnt(CHATML, &row), expected);
}

/// OpenAI's weight 0 on an answer before the last.
#[test]
fn earlier_answers_of_weight_zero_are_context() {
    let turns = json!({"messages": [
        {"role": "user", "content": "1?"}, {"role": "assistant", "content": "One.", "weight": 0},
        {"role": "user", "content": "2?"}, {"role": "assistant", "content": "Two.", "weight": 1},
        {"role": "user", "content": "3?"}, {"role": "assistant", "content": "Three."}]});
    let (_dir, path) = file("x.jsonl", lines(&[turns]));
    for (train_on, expected) in [
        (
            TrainOn::Last,
            &[
                "2 earlier assistant turns are context only: of a conversation the last answer is \
               learnt",
            ][..],
        ),
        (
            TrainOn::All,
            &[
                "1 earlier assistant turns are learnt, too, where the template can write them; to learn the last answer only, set \
                 data.train_on = \"last\"",
                "1 earlier assistant turns are context only: they are empty, or their weight is 0",
            ],
        ),
    ] {
        let options = ReadOptions {
            train_on,
            ..ReadOptions::default()
        };
        let loaded = data::demonstrations(&path, options).unwrap();
        assert_eq!(loaded.counts.notes, expected);
    }
    let row = data::demonstrations(&path, Format::Auto)
        .unwrap()
        .items
        .remove(0);
    // one block around all turns of both speakers: it is not known which part is whose
    let one_block = format!("{{% generation %}}{CHATML}{{% endgeneration %}}");
    for template in [CHATML, &tagged(), &one_block] {
        let expected = [["Two.<|im_end|>", "Three.<|im_end|>"]];
        assert_eq!(learnt(template, &row), expected, "{template}");
    }
    // prompts and stored records without weights are as they were
    let Ask::Chat(messages) = &row.prompt.ask else {
        panic!("a conversation");
    };
    let stored: Vec<Value> = messages
        .iter()
        .map(|m| serde_json::to_value(m).unwrap())
        .collect();
    assert_eq!(
        stored[1],
        json!({"role": "assistant", "content": "One.", "is_context": true})
    );
    assert_eq!(stored[3], json!({"role": "assistant", "content": "Two."}));
    let old: data::Message = serde_json::from_value(stored[3].clone()).unwrap();
    assert!(!old.is_context && messages[1].is_context);
    let texts = messages
        .iter()
        .map(|m| (m.role.as_str(), m.content.as_str()));
    let plain = chat(&texts.collect::<Vec<_>>());
    assert_eq!(crate::common::prompt(plain).key(), row.prompt.key());
}
