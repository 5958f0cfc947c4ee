//! Templates against Stanford Alpaca's and transformers' text.

use crate::common::{chat, instruction};
use data::{Ask, Message, Template};
use std::collections::BTreeMap;
use testkit::golden_json;

#[test]
fn alpaca_prompts_equal_stanfords() {
    let render = |ask: &Ask| Template::Alpaca.render(ask).unwrap();
    let with_input = "Below is an instruction that describes a task, paired with an input that provides further \
        context. Write a response that appropriately completes the request.\n\n### Instruction:\nAdd.\n\n\
        ### Input:\n1 + 1\n\n### Response:";
    assert_eq!(render(&instruction("Add.", "1 + 1")), with_input);
    let without = "Below is an instruction that describes a task. Write a response that appropriately completes the \
        request.\n\n### Instruction:\nAdd.\n\n### Response:";
    assert_eq!(render(&instruction("Add.", "")), without);
    assert_eq!(render(&chat(&[("user", "Add.")])), without);
    let long = chat(&[
        ("system", "Be kind."),
        ("user", "Hi"),
        ("assistant", "Hello"),
        ("user", "Add."),
    ]);
    let expected = with_input.replace("1 + 1", "System: Be kind.\n\nHuman: Hi\n\nAssistant: Hello");
    assert_eq!(render(&long), expected);
    assert_eq!(render(&Ask::Raw("as it is".into())), "as it is");
    let error = Template::Alpaca
        .render(&chat(&[("assistant", "Hi")]))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the Alpaca template needs a conversation that ends with a user turn"
    );
    let raw = Template::Raw;
    assert_eq!(raw.render(&instruction("a", "b")).unwrap(), "a\n\nb");
    let hh = raw
        .render(&chat(&[("user", "a"), ("assistant", "b"), ("user", "c")]))
        .unwrap();
    assert_eq!(hh, "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:");
}

/// The templates and cases of scripts/golden/templates.py.
pub fn golden_templates() -> (BTreeMap<String, Template>, Vec<serde_json::Value>) {
    let golden = golden_json("templates.json");
    let text = |v: &serde_json::Value| v.as_str().unwrap().to_string();
    let templates = golden["templates"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, t)| {
            let (source, bos, eos) = (text(&t["source"]), text(&t["bos"]), text(&t["eos"]));
            let template = Template::Chat {
                source,
                bos,
                eos,
                date: None,
            };
            (name.clone(), template)
        });
    (
        templates.collect(),
        golden["cases"].as_array().unwrap().clone(),
    )
}

#[test]
fn chat_templates_render_as_in_transformers() {
    let (templates, cases) = golden_templates();
    for case in &cases {
        let name = case["template"].as_str().unwrap();
        let messages: Vec<Message> = serde_json::from_value(case["messages"].clone()).unwrap();
        let text = templates[name].render(&Ask::Chat(messages)).unwrap();
        assert_eq!(text, case["text"].as_str().unwrap(), "{name}");
    }
    assert_eq!(cases.len(), 16);
    let one = templates["smollm2"]
        .render(&instruction("Add.", "1"))
        .unwrap();
    assert!(
        one.ends_with("<|im_start|>user\nAdd.\n\n1<|im_end|>\n<|im_start|>assistant\n"),
        "{one}"
    );
}

#[test]
fn floats_that_are_no_numbers_are_printed_as_in_python() {
    let source = "{{ 1e308 * 10 }} {{ -1e308 * 10 }} {{ 1e308 * 10 - 1e308 * 10 }}";
    let text = chat_template(source).render(&instruction("a", "")).unwrap();
    assert_eq!(text, "inf -inf nan");
}

pub fn chat_template(source: &str) -> Template {
    Template::Chat {
        source: source.into(),
        bos: "<s>".into(),
        eos: "</s>".into(),
        date: None,
    }
}

#[test]
fn failing_chat_templates_name_the_line() {
    #[track_caller]
    fn check(source: &str, expected: &str) {
        let error = chat_template(source)
            .render(&instruction("a", ""))
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    check(
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "chat template: does not finish within the limit of steps",
    );
    check("{% include '/etc/passwd' %}", "chat template (line 1): ");
    check(
        "{{ raise_exception('roles must alternate') }}",
        "chat template (line 1): roles must alternate",
    );
    check("\n{% if %}", "chat template (line 2): ");
    let (templates, _) = golden_templates();
    let twice = chat(&[("user", "a"), ("user", "b")]);
    let error = templates["llama-2"].render(&twice).unwrap_err().to_string();
    assert!(
        error.contains("Conversation roles must alternate"),
        "{error}"
    );
}

#[test]
fn templates_are_equal_after_a_round_trip_through_json() {
    for template in [
        Template::Alpaca,
        Template::Raw,
        chat_template("{{ bos_token }}"),
    ] {
        let json = serde_json::to_string(&template).unwrap();
        assert_eq!(serde_json::from_str::<Template>(&json).unwrap(), template);
    }
    assert_eq!(
        serde_json::to_string(&Template::Alpaca).unwrap(),
        r#"{"kind":"alpaca"}"#
    );
}
