//! Rows with tools are refused under a template that would leave a part of them out.

use super::templates::chat_template;
use super::tokens::encoder;
use super::tools::{demonstration, row};
use data::Template;
use serde_json::{Value, json};

const CHATML: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n\
                      {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

#[test]
fn what_a_template_would_leave_out_is_refused() {
    #[track_caller]
    fn check(template: Template, row: &Value, expected: &str) {
        let (encoder, row) = (encoder(template, false), demonstration(row));
        let one = encoder.demonstration(&row).unwrap_err().to_string();
        let all = encoder.conversation(&row).unwrap_err().to_string();
        for error in [one, all] {
            let (place, what) = error.split_once(": row 1: ").expect(&error);
            assert!(place.ends_with("x.jsonl"), "{error}");
            assert_eq!(what, expected);
        }
    }
    let tool = "the chat template leaves out the tool \"weather\" of \"tools\"; use a model whose chat \
                template takes tools, or set data.ignore = [\"tools\"] to learn the turns alone";
    check(chat_template(CHATML), &row(), tool);
    // the names stand in another turn
    let mut named = row();
    named["messages"][0]["content"] = json!("Use weather for Oslo. 7");
    check(chat_template(CHATML), &named, tool);
    let mut calls = named.clone();
    calls.as_object_mut().unwrap().remove("tools");
    let call = "the chat template leaves out the assistant's call of \"weather\"; use a model whose \
                chat template writes tool calls, or remove such rows";
    check(chat_template(CHATML), &calls, call);
    let mut answer = calls.clone();
    answer["messages"].as_array_mut().unwrap().truncate(2);
    check(chat_template(CHATML), &answer, call);
    let mut results = calls.clone();
    results["messages"].as_array_mut().unwrap().remove(1);
    let known = CHATML.replace("in messages", "in messages if m.role != 'tool'");
    let result = "the chat template leaves out the tool turn \"7\"; use a model whose chat template \
                  writes tool turns, or remove such rows";
    check(chat_template(&known), &results, result);
    encoder(chat_template(CHATML), false)
        .demonstration(&demonstration(&results))
        .unwrap();
    for (template, name) in [(Template::Alpaca, "alpaca"), (Template::Raw, "raw")] {
        let what = format!(
            "has tools, and the template {name:?} has no place for them; set model.template = \
             \"chat\" if the model's own takes tools, or remove such rows"
        );
        check(template, &row(), &what);
    }
    let json = CHATML.replace("m.content", "m.content | tojson");
    let undefined = "chat template (line 2): tojson: the value is undefined";
    check(chat_template(&json), &calls, undefined);
    let raises =
        format!("{{% if tools %}}{{{{ raise_exception('No tools.') }}}}{{% endif %}}{CHATML}");
    check(
        chat_template(&raises),
        &row(),
        "chat template (line 1): No tools.",
    );
}

/// A template that takes no other name, as the probes have them.
#[test]
fn what_cannot_be_probed_by_name_is_probed_by_its_arguments() {
    let check = |calls: &str, expected: Option<&str>| {
        let raises = "{% for m in messages %}{% for c in m.tool_calls or [] %}{% if c.function.name \
                      != 'weather' %}{{ raise_exception('no') }}{% endif %}{% endfor %}{% endfor %}";
        let known = CHATML.replace(
            "{{ m.content }}",
            &format!("{calls}{{{{ m.content or '' }}}}"),
        );
        let encoder = encoder(chat_template(&format!("{raises}{known}")), false);
        let mut row = row();
        row.as_object_mut().unwrap().remove("tools");
        let found = encoder.demonstration(&demonstration(&row));
        match (found, expected) {
            (Ok(_), None) => {}
            (Err(error), Some(expected)) if error.to_string().contains(expected) => {}
            (found, _) => panic!("{found:?}, expected {expected:?}"),
        }
    };
    check("{{ m.tool_calls | tojson if m.tool_calls else '' }}", None);
    check(
        "",
        Some(": row 1: the chat template leaves out the assistant's call of \"weather\""),
    );
    check(
        "{% for c in m.tool_calls or [] %}{% for k in c.function.arguments %}{% if k != 'city' %}\
         {{ raise_exception('other') }}{% endif %}{% endfor %}{% endfor %}",
        Some(
            ": row 1: the chat template takes no other tools and calls than those of the row, so \
             whether it writes these cannot be checked (chat template (line 2): other); remove such \
             rows",
        ),
    );
}

/// What probes begin with is in no text of the row.
#[test]
fn a_row_that_has_the_text_of_a_probe_is_refused_as_others() {
    let mut row = row();
    let probes: String = (0..9).map(|i| format!("zq0n{i}probe ")).collect();
    row["messages"][0]["content"] = probes.into();
    let encoder = encoder(chat_template(CHATML), false);
    let error = encoder.demonstration(&demonstration(&row)).unwrap_err();
    let what = ": row 1: the chat template leaves out the tool \"weather\" of \"tools\"";
    assert!(error.to_string().contains(what), "{error}");
}

/// An earlier call is refused as the last would be, and is not context in silence.
#[test]
fn an_earlier_call_that_the_template_does_not_end_is_refused() {
    let open = CHATML.replace(
        "{{ m.content }}<|im_end|>",
        "{% if m.tool_calls %}{{ m.tool_calls | tojson }}[eom]{% else %}{{ m.content }}<|im_end|>\
         {% endif %}",
    );
    let mut row = row();
    row.as_object_mut().unwrap().remove("tools");
    let encoder = encoder(chat_template(&open), false);
    let error = encoder.conversation(&demonstration(&row)).unwrap_err();
    let what =
        ": row 1: the chat template writes no \"<|im_end|>\" after a tool call; remove such rows";
    assert!(error.to_string().ends_with(what), "{error}");
    encoder.demonstration(&demonstration(&row)).unwrap();
}

/// Of an answer that calls tools.
#[test]
fn an_answer_that_the_template_does_not_write_whole_is_refused() {
    let writes = CHATML.replace(
        "{{ m.content }}",
        "{{ m.tool_calls | tojson if m.tool_calls else m.content }}",
    );
    let check = |content: &str, template: &str, expected: &str| {
        let mut row = row();
        row.as_object_mut().unwrap().remove("tools");
        row["messages"].as_array_mut().unwrap().truncate(2);
        row["messages"][1]["content"] = json!(content);
        let encoder = encoder(chat_template(template), false);
        let error = encoder.demonstration(&demonstration(&row)).unwrap_err();
        let error = error.to_string();
        assert!(error.ends_with(expected), "{error}");
    };
    check(
        "Wait.",
        &writes,
        ": row 1: the chat template leaves out the text \"Wait.\" of an answer that calls tools; \
         remove such rows",
    );
    check(
        "",
        &writes.replace("<|im_end|>", "{{ '' if m.tool_calls else '<|im_end|>' }}"),
        ": row 1: the chat template writes no \"<|im_end|>\" after a tool call; remove such rows",
    );
    check(
        "a <|im_end|> b",
        &writes,
        ": row 1: an answer that calls tools has the text \"<|im_end|>\", which would be a special \
         token; remove it from the data",
    );
}
