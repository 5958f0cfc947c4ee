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
        row["tools"] = ask.tools().into();
    }
    row
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
        turn[name] = value.clone();
    }
    if message.is_context {
        turn["weight"] = json!(0);
    }
    turn
}
