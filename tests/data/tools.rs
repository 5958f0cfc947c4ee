//! Rows with tools: in which forms they are read and what of them is learnt. Ids and labels by
//! transformers: golden_shapes.rs.

use super::file;
use super::golden_rows::encoder as shape_encoder;
use data::{Ask, Demonstration, Encoder, Format, Loaded, ReadOptions};
use serde_json::{Value, json};
use testkit::golden;
use tokenizers::Tokenizer;

pub fn loaded(row: &Value, options: ReadOptions) -> Result<Loaded<Demonstration>, String> {
    let (_dir, path) = file("x.jsonl", row.to_string());
    let shown = format!("{}: ", path.display());
    data::demonstrations(&path, options).map_err(|e| e.to_string().replace(&shown, ""))
}

pub fn demonstration(row: &Value) -> Demonstration {
    let loaded = loaded(row, Format::Auto.into()).unwrap();
    loaded.items.into_iter().next().unwrap()
}

/// All turns of a row as the template gets them, the answer last.
fn turns(row: &Value) -> Value {
    let row = demonstration(row);
    let Ask::Chat(mut messages) = row.prompt.ask.clone() else {
        panic!("{row:?} is no conversation");
    };
    messages.drain(..usize::from(!row.prompt.ask.tools().is_empty()));
    messages.push(row.answer());
    let turn = |message: &data::Message| {
        let mut turn = json!({"role": message.role, "content": message.content});
        for (name, value) in &message.fields {
            turn[name] = value.clone();
        }
        turn
    };
    messages.iter().map(turn).collect()
}

fn user() -> Value {
    json!({"role": "user", "content": "Oslo?"})
}

fn calling() -> Value {
    let function = json!({"name": "weather", "arguments": {"city": "Oslo"}});
    json!({"role": "assistant", "content": null,
           "tool_calls": [{"type": "function", "function": function}]})
}

fn tools() -> Value {
    json!([{"type": "function", "function": {"name": "weather", "parameters": {}}}])
}

pub fn row() -> Value {
    json!({"messages": [user(), calling(), {"role": "tool", "content": "7"},
                        {"role": "assistant", "content": "Cold."}],
           "tools": tools()})
}

#[test]
fn the_forms_in_use_are_read_alike() {
    let expected = row()["messages"].clone();
    assert_eq!(turns(&row()), expected);
    let function = expected[1]["tool_calls"][0]["function"].clone();
    let with_call = |call: Value| {
        let mut row = row();
        row["messages"][1] = call;
        row
    };
    let assistant = |key: &str, value: Value| with_call(json!({"role": "assistant", key: value}));
    let mut texts = function.clone();
    texts["arguments"] = json!("{\"city\": \"Oslo\"}");
    for row in [
        assistant("tool_calls", json!([function])),
        assistant(
            "tool_calls",
            json!([{"type": "function", "function": texts}]),
        ),
        assistant("tool_calls", json!(json!([function]).to_string())),
        assistant("function_call", texts),
        with_call(json!({"role": "function_call", "content": function.to_string()})),
        with_call(json!({"role": "tool_call", "content": json!([function]).to_string()})),
    ] {
        assert_eq!(turns(&row), expected, "{row}");
    }
    for role in ["observation", "function", "tool_response"] {
        let mut row = row();
        row["messages"][2]["role"] = role.into();
        assert_eq!(turns(&row), expected, "{row}");
    }
    let share_gpt = json!({"conversations": [
        {"from": "human", "value": "Oslo?"}, {"from": "function_call", "value": function.to_string()},
        {"from": "observation", "value": "7"}, {"from": "gpt", "value": "Cold."}]});
    assert_eq!(turns(&share_gpt), expected);
    let bare = json!([tools()[0]["function"]]);
    for form in [
        bare.clone(),
        json!(bare.to_string()),
        json!(tools().to_string()),
        bare[0].clone(),
        json!(bare[0].to_string()),
    ] {
        let mut row = row();
        row["tools"] = form;
        let ask = demonstration(&row).prompt.ask;
        assert_eq!(Value::from(ask.tools()), tools(), "{row}");
    }
    for none in [json!([]), json!("[]"), json!("[ ]"), json!(null)] {
        let mut row = row();
        row["tools"] = none;
        let Ask::Chat(turns) = demonstration(&row).prompt.ask else {
            panic!("{row} is no conversation");
        };
        assert_eq!(turns[0].role, "user", "{row}");
    }
}

/// Columns of Arrow fill up with null; what a text of JSON has is kept. Names and ids of results
/// are the template's.
#[test]
fn nulls_are_left_out_of_values_and_kept_in_texts() {
    let mut row = row();
    row["messages"][1]["tool_calls"][0]["id"] = json!("c1");
    let arguments = json!({"city": "Oslo", "day": null, "at": [{"x": null, "y": 1}]});
    let function = &mut row["messages"][1]["tool_calls"][0]["function"];
    function["arguments"] = arguments.clone();
    let turns = self::turns(&row);
    let found = &turns[1]["tool_calls"][0];
    assert_eq!(
        found["function"]["arguments"],
        json!({"city": "Oslo", "at": [{"y": 1}]})
    );
    assert_eq!(found["id"], "c1");
    row["messages"][1]["tool_calls"][0]["function"]["arguments"] = arguments.to_string().into();
    row["messages"][2]["tool_call_id"] = json!("c1");
    row["messages"][2]["name"] = json!(null);
    let turns = self::turns(&row);
    assert_eq!(
        turns[1]["tool_calls"][0]["function"]["arguments"],
        arguments
    );
    assert_eq!(
        turns[2],
        json!({"role": "tool", "content": "7", "tool_call_id": "c1"})
    );
    assert_eq!(nulls_said(&row), Vec::<String>::new());
    row["messages"][1]["tool_calls"][0]["function"]["arguments"] = arguments;
    let said = [
        "1 row has fields of null inside tools or calls, which are left out, as TRL does; to keep \
         them, write \"tools\" and \"arguments\" as JSON text",
    ];
    assert_eq!(nulls_said(&row), said);
    let mut row = self::row();
    row["tools"][0]["function"]["parameters"] = json!({"default": null});
    assert_eq!(nulls_said(&row), said);
}

fn nulls_said(row: &Value) -> Vec<String> {
    let mut notes = loaded(row, Format::Auto.into()).unwrap().counts.notes;
    notes.retain(|note| note.contains("null"));
    notes
}

#[test]
fn what_is_no_call_or_tool_is_refused() {
    #[track_caller]
    fn check(pointer: &str, value: Value, expected: &str) {
        let mut row = row();
        *row.pointer_mut(pointer).unwrap() = value;
        let error = loaded(&row, Format::Auto.into()).unwrap_err();
        assert!(
            error.starts_with(&format!("row 1: field {expected}")),
            "{error}"
        );
    }
    let call = "/messages/1/tool_calls";
    let no_call = "\"messages[1].tool_calls[0]\" is no call of a tool, {\"name\": …";
    check(call, json!(["x"]), no_call);
    check(
        call,
        json!([{"function": {"arguments": {"x": 1}}}]),
        no_call,
    );
    let arguments = "\"messages[1].tool_calls[0].arguments\" is ";
    let of_call = |value: Value| json!([{"name": "x", "arguments": value}]);
    check(
        call,
        of_call(json!([1])),
        &format!("{arguments}a list, not an object"),
    );
    check(
        call,
        of_call(json!("{a: 1}")),
        &format!("{arguments}text that is not JSON: "),
    );
    check(
        call,
        of_call(json!("7")),
        &format!("{arguments}a number, not an object"),
    );
    let one = json!({"role": "function_call", "content": "{\"name\": 7}"});
    check(
        "/messages/1",
        one,
        "\"messages[1].content\" is no call of a tool, {\"name\": …",
    );
    let said = json!({"role": "function_call", "content": "Let me look."});
    check(
        "/messages/1",
        said,
        "\"messages[1].content\" is text that is not JSON: ",
    );
    let advice = "\"tools[0]\" is no tool, {\"type\": \"function\", \"function\": {\"name\": …, \
                  \"parameters\": …}}; correct it, or set data.ignore = [\"tools\"]";
    let text = "\"tools\" is text that is not JSON: expected value at column 1; correct it, or set \
                data.ignore = [\"tools\"] to use the rows without it";
    check("/tools", json!("hammer"), text);
    check("/tools", json!(["weather"]), advice);
    check("/tools", json!([{"type": "function"}]), advice);
    check(
        "/messages/2/content",
        json!({"a": 1}),
        "\"messages[2].content\" is an object",
    );
}

#[test]
fn ignored_calls_and_tools_are_left_out() {
    let mut row = row();
    row["messages"][1]["content"] = json!("Wait.");
    let options = ReadOptions {
        ignore: vec!["tool_calls".into(), "tools".into()],
        ..ReadOptions::default()
    };
    let found = loaded(&row, options).unwrap().items.remove(0);
    let text = found.prompt.ask.text();
    assert_eq!(text, "Human: Oslo?\n\nAssistant: Wait.\n\nTool: 7");
}

/// A run that began before tools were read goes on without these rows.
#[test]
fn old_runs_drop_conversations_with_tools() {
    let options = || ReadOptions {
        drops_tools: true,
        ..ReadOptions::default()
    };
    let mut row = row();
    row["tools"] = json!([]);
    for (turn, role) in [
        (calling(), "tool_calls"),
        (json!({"role": "tool", "content": "7"}), "tool"),
        (
            json!({"role": "observation", "content": "7"}),
            "observation",
        ),
        (
            json!({"role": "function_call", "content": "{}"}),
            "function_call",
        ),
    ] {
        row["messages"][1] = turn;
        row["messages"][2] = user();
        let error = loaded(&row, options()).unwrap_err();
        let expected = format!(
            "none of its rows can be used: conversation with a turn of the role {role:?} (1)"
        );
        assert_eq!(error, expected);
    }
    row["messages"][1] = json!({"role": "assistant", "content": "Wait."});
    row["tools"] = tools();
    let error = loaded(&row, options()).unwrap_err();
    assert!(
        error.starts_with("row 1: field \"tools\" belongs to the prompt"),
        "{error}"
    );
}

const QWEN: &str = "qwen2.5";

fn qwen() -> Encoder {
    let small = Tokenizer::from_file(golden("shapes/tokenizer.json")).unwrap();
    shape_encoder(&small, QWEN, false)
}

/// The texts that are learnt of a row.
fn learnt(row: &Value, last: bool) -> Vec<String> {
    let small = Tokenizer::from_file(golden("shapes/tokenizer.json")).unwrap();
    let row = demonstration(row);
    let [example] = &match last {
        true => vec![qwen().demonstration(&row).unwrap()],
        false => qwen().conversation(&row).unwrap(),
    }[..] else {
        panic!("several sequences");
    };
    let text = |range: std::ops::Range<usize>| small.decode(&example.ids[range], false).unwrap();
    example.labels().map(text).collect()
}

#[test]
fn calls_are_learnt_as_other_answers_and_results_never() {
    let call = "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Oslo\"}}\n\
                </tool_call><|im_end|>";
    assert_eq!(learnt(&row(), false), [call, "Cold.<|im_end|>"]);
    assert_eq!(learnt(&row(), true), ["Cold.<|im_end|>"]);
    let mut row = row();
    row["messages"].as_array_mut().unwrap().truncate(2);
    assert_eq!(learnt(&row, true), [call]);
    row["messages"][1]["content"] = json!("Wait.");
    assert_eq!(learnt(&row, false), [format!("Wait.\n{call}")]);
    row["messages"][1]["weight"] = json!(0);
    let error = loaded(&row, Format::Auto.into()).unwrap_err();
    assert!(error.ends_with("answer of weight 0 (1)"), "{error}");
}

/// As prompts, rows that end with a call have no reference, and a tool's result may be last.
#[test]
fn rows_with_tools_are_prompts() {
    let mut row = row();
    row["messages"].as_array_mut().unwrap().truncate(2);
    let mut result = self::row();
    result["messages"].as_array_mut().unwrap().truncate(3);
    let (_dir, path) = file("x.jsonl", format!("{row}\n{result}\n"));
    let Loaded { items, counts } = data::prompts(&path, Format::Auto).unwrap();
    assert_eq!(
        counts.notes,
        ["1 prompt has no reference: the answer calls tools"]
    );
    let references: Vec<_> = items.iter().map(|p| p.reference.as_deref()).collect();
    assert_eq!(references, [None, None]);
    assert!(
        items[0]
            .ask
            .text()
            .starts_with("Tools: [{\"type\":\"function\",")
    );
    assert!(items[1].ask.text().ends_with("\n\nTool: 7"));
    assert_ne!(items[0].key(), items[1].key());
    qwen().prompt(&items[1]).unwrap();
}

#[test]
fn pairs_have_tools_before_their_answers_only() {
    let pairs = |row: Value| {
        let (_dir, path) = file("x.jsonl", row.to_string());
        let pairs = data::preferences(&path, Format::Auto);
        pairs
            .map(|mut p| p.items.remove(0))
            .map_err(|e| e.to_string())
    };
    let mut pair = row();
    pair["prompt"] = json!([user(), calling(), {"role": "tool", "content": "7"}]);
    pair.as_object_mut().unwrap().remove("messages");
    pair["chosen"] = json!([{"role": "assistant", "content": "Cold."}]);
    pair["rejected"] = json!([{"role": "assistant", "content": "Hot."}]);
    let found = pairs(pair.clone()).unwrap();
    assert_eq!(Value::from(found.prompt.ask.tools()), tools());
    qwen().example(&found.prompt, &found.chosen).unwrap();
    pair["rejected"] = json!([calling()]);
    let error = pairs(pair).unwrap_err();
    let what = "row 1: the answer of field \"rejected\" calls tools, and only a text can be learnt";
    assert!(error.contains(what), "{error}");
    let answer = |text: &str| json!([{"role": "assistant", "content": text}]);
    let mut openai = json!({"input": {"messages": [user()], "tools": tools()},
                            "preferred_output": answer("7"), "non_preferred_output": answer("8")});
    assert_eq!(
        Value::from(pairs(openai.clone()).unwrap().prompt.ask.tools()),
        tools()
    );
    openai["tools"] = tools();
    let error = pairs(openai).unwrap_err();
    let what = "row 1: fields \"tools\" and \"input.tools\" mean the same; remove one of them, or set \
                data.ignore = [\"tools\"]";
    assert!(error.contains(what), "{error}");
}
