//! A record as a row of our JSON Lines.

use crate::item::Item;
use data::{Ask, Message};
use serde_json::{Map, Value, json};

/// The fields of the row. What is read of them is the record: a text stays a text and a
/// conversation a list of messages, but in `messages`, where a text is one turn.
pub(crate) fn row(item: &Item) -> Value {
    let ask = &item.prompt.ask;
    match (&item.answers[..], ask) {
        ([(_, answer)], Ask::Raw(before)) => {
            json!({"text": format!("{before}{}", answer.content)})
        }
        ([(_, answer)], _) => {
            let mut turns = turns(ask);
            turns.push(turn(&item.learnt(answer)));
            with_tools(json!({"messages": turns}), ask)
        }
        (answers, _) => {
            let mut row = Map::new();
            row.insert("prompt".to_string(), prompt(ask));
            for (name, answer) in answers {
                row.insert(name.to_string(), item.learnt(answer).content.into());
            }
            with_tools(Value::Object(row), ask)
        }
    }
}

/// The row with the tools that the conversation declares.
fn with_tools(mut row: Value, ask: &Ask) -> Value {
    if !ask.tools().is_empty() {
        row["tools"] = with_nulls(ask.tools().into());
    }
    row
}

/// The value, as JSON text if a field in it is null: outside a text such are left out.
fn with_nulls(value: Value) -> Value {
    match holds_null(&value) {
        true => value.to_string().into(),
        false => value,
    }
}

fn holds_null(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(holds_null),
        Value::Object(fields) => fields.values().any(|v| v.is_null() || holds_null(v)),
        _ => false,
    }
}

/// Calls whose arguments, or else the whole list, are text where they hold a null.
fn calls(mut calls: Value) -> Value {
    let list = calls.as_array_mut();
    for call in list.into_iter().flatten() {
        if let Some(arguments) = call.pointer_mut("/function/arguments") {
            *arguments = with_nulls(arguments.take());
        }
    }
    with_nulls(calls)
}

fn prompt(ask: &Ask) -> Value {
    match ask {
        Ask::Chat(_) => Value::from(turns(ask)),
        Ask::Instruction { .. } | Ask::Raw(_) => Value::from(ask.text()),
    }
}

fn turns(ask: &Ask) -> Vec<Value> {
    match ask {
        Ask::Chat(messages) => {
            let declares = usize::from(!ask.tools().is_empty());
            messages[declares..].iter().map(turn).collect()
        }
        Ask::Instruction { .. } | Ask::Raw(_) => vec![turn(&Message::new("user", &ask.text()))],
    }
}

/// A turn in OpenAI's form.
fn turn(message: &Message) -> Value {
    let mut turn = json!({"role": message.role, "content": message.content});
    for (name, value) in &message.fields {
        turn[name] = match name.as_str() {
            "tool_calls" => calls(value.clone()),
            _ => value.clone(),
        };
    }
    if message.is_context {
        turn["weight"] = json!(0);
    }
    turn
}
