//! A record as a row of our JSON Lines.

use crate::item::Item;
use data::{Ask, Message};
use serde_json::{Map, Value, json};

/// The fields of the row. What is read of them is the record: a text stays a text and a
/// conversation a list of messages, but in `messages`, where a text is one turn.
pub(crate) fn row(item: &Item) -> Value {
    let ask = &item.prompt.ask;
    match (&item.answers[..], ask) {
        ([(_, answer)], Ask::Raw(before)) => json!({"text": format!("{before}{answer}")}),
        ([(_, answer)], _) => {
            let mut messages = messages(ask);
            messages.push(Message::new("assistant", answer));
            json!({"messages": messages})
        }
        (answers, _) => {
            let mut row = Map::new();
            row.insert("prompt".to_string(), prompt(ask));
            for (name, text) in answers {
                row.insert(name.to_string(), Value::from(text.as_str()));
            }
            Value::Object(row)
        }
    }
}

fn prompt(ask: &Ask) -> Value {
    match ask {
        Ask::Chat(messages) => json!(messages),
        Ask::Instruction { .. } | Ask::Raw(_) => Value::from(ask.text()),
    }
}

fn messages(ask: &Ask) -> Vec<Message> {
    match ask {
        Ask::Chat(messages) => messages.clone(),
        Ask::Instruction { .. } | Ask::Raw(_) => vec![Message::new("user", &ask.text())],
    }
}
