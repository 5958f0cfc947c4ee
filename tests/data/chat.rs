//! Chat templates of the common families, rendered and tokenised, against transformers
//! (scripts/golden/chat.py): the text, and the ids of the whole text tokenised at once.

use super::templates::chat_template;
use crate::common::{chat, instruction, prompt};
use data::{Ask, Encoder, Ends, Message, Template};
use serde_json::Value;
use std::collections::BTreeSet;
use testkit::golden_json;
use tokenizers::{AddedToken, Tokenizer};

fn ids(value: &Value) -> Vec<u32> {
    let ids = value.as_array().unwrap().iter();
    ids.map(|id| id.as_u64().unwrap() as u32).collect()
}

fn template(golden: &Value, name: &str) -> Template {
    let template = &golden["templates"][name];
    let text = |key: &str| template[key].as_str().unwrap().to_string();
    let template = Template::Chat {
        source: text("source"),
        bos: text("bos"),
        eos: text("eos"),
        date: None,
    };
    template.at(golden["date"].as_str().unwrap())
}

fn encoder(golden: &Value, case: &Value) -> Encoder {
    let name = case["tokenizer"].as_str().unwrap();
    let tokenizer = golden["tokenizers"][name].to_string();
    let tokenizer: Tokenizer = tokenizer.parse().unwrap();
    let template = template(golden, case["template"].as_str().unwrap());
    let Template::Chat { eos, .. } = &template else {
        unreachable!()
    };
    let ends = Ends {
        bos: tokenizer.token_to_id("<s>"),
        add_bos: false,
        eos: tokenizer.token_to_id(eos).unwrap(),
        stop: Vec::new(),
    };
    Encoder::new(tokenizer, template, ends).unwrap()
}

fn ask(case: &Value) -> Ask {
    let messages: Vec<Message> = serde_json::from_value(case["messages"].clone()).unwrap();
    Ask::Chat(messages)
}

#[test]
fn families_render_as_in_transformers() {
    let golden = golden_json("chat.json");
    let mut names = BTreeSet::new();
    for case in golden["cases"].as_array().unwrap() {
        let name = case["template"].as_str().unwrap();
        let text = template(&golden, name).render(&ask(case)).unwrap();
        assert_eq!(text, case["prompt"].as_str().unwrap(), "{name}");
        names.insert(name);
    }
    assert_eq!(names.len(), 8);
}

/// 128 cases: eight templates with SentencePiece's three kinds of blank and bytes. The eight whose
/// text does not begin with the prompt's are counted.
#[test]
fn ids_equal_those_of_the_whole_text_tokenised_at_once() {
    let golden = golden_json("chat.json");
    let (mut n_equal, mut n_rewritten) = (0, 0);
    for case in golden["cases"].as_array().unwrap() {
        let shown = format!(
            "{} {} {}",
            case["tokenizer"], case["template"], case["answer"]
        );
        let encoder = encoder(&golden, case);
        let (prompt, answer) = (prompt(ask(case)), case["answer"].as_str().unwrap());
        let prompt_ids = ids(&case["prompt_ids"]);
        assert_eq!(encoder.prompt(&prompt).unwrap(), prompt_ids, "{shown}");
        let example = encoder.example(&prompt, answer).unwrap();
        assert_eq!(example.prompt_len, prompt_ids.len(), "{shown}");
        assert_eq!(example.ids[..example.prompt_len], prompt_ids, "{shown}");
        assert_eq!(
            encoder.token(*example.ids.last().unwrap()),
            case["end"],
            "{shown}"
        );
        let decoded = encoder.decode(&example.ids[example.prompt_len..]).unwrap();
        assert_eq!(decoded.trim(), answer, "{shown}");
        let whole = ids(&case["ids"]);
        let notes = encoder.row_notes("training");
        if whole.starts_with(&prompt_ids) {
            assert_eq!(example.ids, whole, "{shown}");
            assert!(notes.is_empty(), "{shown}: {notes:?}");
            n_equal += 1;
        } else {
            let expected = "training rows: the chat template changes the prompt of 1 of them once an \
                            answer follows; they are trained as in generation, without the change";
            assert_eq!(notes, [expected], "{shown}");
            n_rewritten += 1;
        }
        if let Some(n) = case["n_assistant"].as_u64() {
            assert_eq!(
                example.ids.len() - example.prompt_len,
                n as usize,
                "{shown}"
            );
        }
        assert!(encoder.notes().is_empty(), "{shown}");
    }
    assert_eq!((n_equal, n_rewritten), (120, 8));
}

/// `\n` and the first letter are one token of this vocabulary.
#[test]
fn a_token_across_the_boundary_is_counted() {
    let golden = golden_json("chat.json");
    let case = &golden["cases"][0];
    let mut tokenizer: Tokenizer = golden["tokenizers"]["bytes"].to_string().parse().unwrap();
    let joined = AddedToken::from("\nYes", false);
    tokenizer.add_tokens([joined]).unwrap();
    let ends = Ends {
        bos: None,
        add_bos: false,
        eos: tokenizer.token_to_id("</s>").unwrap(),
        stop: Vec::new(),
    };
    let source =
        "{{ messages[0].content }}\n{% for m in messages[1:] %}{{ m.content }}</s>{% endfor %}";
    let encoder = Encoder::new(tokenizer, chat_template(source), ends).unwrap();
    let question = prompt(ask(case));
    for answer in ["Yes.", "Yes, and more", "No."] {
        let example = encoder.example(&question, answer).unwrap();
        assert_eq!(
            example.ids[..example.prompt_len],
            encoder.prompt(&question).unwrap()
        );
        assert_eq!(
            encoder.decode(&example.ids[example.prompt_len..]).unwrap(),
            answer
        );
    }
    let expected = "held-out rows: a token would span the end of the prompt and the start of the \
                    answer in 2 of them (\" of France?\\n\" before \"Yes.\"); prompt and answer are \
                    tokenised separately there, as in generation";
    assert_eq!(encoder.row_notes("held-out"), [expected]);
    assert!(encoder.row_notes("held-out").is_empty());
}

/// The blank that a SentencePiece model puts before a text is not put before an answer.
#[test]
fn alpaca_answers_follow_their_prompt_directly() {
    let golden = golden_json("chat.json");
    for (name, blank) in [
        ("prepend", true),
        ("metaspace-first", true),
        ("bytes", false),
    ] {
        let tokenizer: Tokenizer = golden["tokenizers"][name].to_string().parse().unwrap();
        let alone = tokenizer.encode("Paris", false).unwrap();
        assert_eq!(
            alone.get_tokens()[0].starts_with('\u{2581}'),
            blank,
            "{name}"
        );
        let ends = Ends {
            bos: None,
            add_bos: false,
            eos: tokenizer.token_to_id("</s>").unwrap(),
            stop: Vec::new(),
        };
        let encoder = Encoder::new(tokenizer.clone(), Template::Alpaca, ends).unwrap();
        let question = prompt(instruction("a", ""));
        let text = Template::Alpaca.render(&question.ask).unwrap();
        let whole = tokenizer.encode(format!("{text}Paris."), false).unwrap();
        let example = encoder.example(&question, "Paris.").unwrap();
        let (_, ids) = example.ids.split_last().unwrap();
        assert_eq!(ids, whole.get_ids(), "{name}");
        // Version 0.1.0 tokenised answers by themselves, and so do the runs that it began.
        let old = encoder.for_old_runs().answer(&question, "Paris.").unwrap();
        let alone = tokenizer.encode("Paris.", false).unwrap();
        assert_eq!(old.split_last().unwrap().1, alone.get_ids(), "{name}");
    }
}

#[test]
fn a_template_without_an_end_token_is_named() {
    let golden = golden_json("chat.json");
    let mut case = golden["cases"][0].clone();
    case["tokenizer"] = "bytes".into();
    for (after, note) in [
        (
            "",
            "the chat template writes no token after an answer; answers end with </s>",
        ),
        (
            "<|stop|>",
            "the chat template ends an answer with \"<|stop|>\", which is not a single token; answers \
             end with </s>",
        ),
    ] {
        let tokenizer: Tokenizer = golden["tokenizers"]["bytes"].to_string().parse().unwrap();
        let source = format!("{{% for m in messages %}}{{{{ m.content }}}}{after}{{% endfor %}}");
        let eos = tokenizer.token_to_id("</s>").unwrap();
        let ends = Ends {
            bos: None,
            add_bos: false,
            eos,
            stop: Vec::new(),
        };
        let encoder = Encoder::new(tokenizer, chat_template(&source), ends).unwrap();
        assert_eq!(encoder.notes(), [note]);
        let ids = encoder
            .answer(&prompt(chat(&[("user", "a")])), "b")
            .unwrap();
        assert_eq!((ids.len(), ids[1]), (2, eos));
    }
}

/// Two templates that read Alpaca's input, or not.
#[test]
fn a_template_may_take_alpacas_input_apart() {
    let ask = instruction("Add.", "1 + 1");
    let joined = chat_template("{{ messages[0].content }}|{{ messages[0] | length }}");
    assert_eq!(joined.render(&ask).unwrap(), "Add.\n\n1 + 1|2");
    let apart = chat_template("{{ messages[0].content }}|{{ messages[0].alpaca_input }}");
    assert_eq!(apart.render(&ask).unwrap(), "Add.|1 + 1");
    assert_eq!(apart.render(&instruction("Add.", " ")).unwrap(), "Add.|");
}

#[test]
fn the_date_of_a_template_is_frozen_and_formatted_as_in_python() {
    let at = |format: &str, date: &str| {
        let source = format!("{{{{ strftime_now('{format}') }}}}");
        chat_template(&source)
            .at(date)
            .render(&instruction("a", ""))
    };
    // datetime(2024, 12, 31, 0, 5, 9).strftime(...)
    let date = "2024-12-31T00:05:09Z";
    for (format, expected) in [
        ("%d %b %Y", "31 Dec 2024"),
        ("%A, %B %-d, %y", "Tuesday, December 31, 24"),
        ("%a %e %h %j", "Tue 31 Dec 366"),
        ("%I:%M:%S %p %H", "12:05:09 AM 00"),
        ("%-I %-H %-M %-j %-m", "12 0 5 366 12"),
        ("%F %T %R %%", "2024-12-31 00:05:09 00:05 %"),
    ] {
        assert_eq!(at(format, date).unwrap(), expected);
    }
    assert_eq!(at("%j %e", "2023-03-01").unwrap(), "060  1");
    for (format, code) in [("%q", "%q"), ("%-a", "%-a"), ("%", "%")] {
        let error = at(format, date).unwrap_err().to_string();
        let expected =
            format!("chat template (line 1): strftime_now: the code {code} is not known");
        assert_eq!(error, expected);
    }
    let plain = chat_template("{{ messages[0].content }}").at(date);
    assert_eq!((plain.date(), plain.prints_the_date()), (None, false));
    for text in [
        "2024-02-30",
        "2024-1-1",
        "31 Dec 2024",
        "2024-12-31T24:00:00Z",
        "1969-12-31",
    ] {
        assert!(data::template_time(text).is_err(), "{text}");
    }
}
