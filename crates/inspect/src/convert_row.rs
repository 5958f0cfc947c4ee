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
            let mut turns = turns(ask);
            turns.push(turn(&Message::new("assistant", item.learnt(answer))));
            json!({"messages": turns})
        }
        (answers, _) => {
            let mut row = Map::new();
            row.insert("prompt".to_string(), prompt(ask));
            for (name, text) in answers {
                row.insert(name.to_string(), Value::from(item.learnt(text)));
            }
            Value::Object(row)
        }
    }
}

fn prompt(ask: &Ask) -> Value {
    match ask {
        Ask::Chat(_) => Value::from(turns(ask)),
        Ask::Instruction { .. } | Ask::Raw(_) => Value::from(ask.text()),
    }
}

fn turns(ask: &Ask) -> Vec<Value> {
    match ask {
        Ask::Chat(messages) => messages.iter().map(turn).collect(),
        Ask::Instruction { .. } | Ask::Raw(_) => vec![turn(&Message::new("user", &ask.text()))],
    }
}

/// A turn in OpenAI's form.
fn turn(message: &Message) -> Value {
    let (role, content) = (&message.role, &message.content);
    match message.is_context {
        true => json!({"role": role, "content": content, "weight": 0}),
        false => json!({"role": role, "content": content}),
    }
}
