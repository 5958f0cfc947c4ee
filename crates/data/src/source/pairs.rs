//! `prompt`, `chosen`, `rejected`. The prompt is a string or a list of messages; an answer is a
//! string or a list of messages that ends with an assistant turn (TRL's conversational form).

use super::collector::Collector;
use super::format::Format;
use super::row::{Kind, Row, Source};
use crate::{Ask, Result};
use serde_json::Value;

pub(super) const SOURCE: Source = Source {
    format: Format::Pairs,
    name: "pairs",
    fields: "prompt (a string or messages), chosen, rejected",
    kind: Kind::Preferences,
    fits: |row| {
        ["prompt", "chosen", "rejected"]
            .iter()
            .all(|f| row.contains_key(*f))
    },
    read,
};

fn read(row: &Row, collector: &mut Collector) -> Result<()> {
    let ask = if let Value::Array(_) = row.value("prompt")? {
        let messages = row.messages("prompt")?;
        if messages.last().is_none_or(|last| last.role != "user") {
            collector.drop_row("prompt that does not end with a user turn");
            return Ok(());
        }
        Ask::Chat(messages)
    } else {
        let instruction = row.text("prompt")?.to_string();
        Ask::Instruction {
            instruction,
            input: String::new(),
        }
    };
    let chosen = answer(row, "chosen")?;
    let rejected = answer(row, "rejected")?;
    collector.preference(ask, &chosen, &rejected);
    Ok(())
}

fn answer(row: &Row, field: &str) -> Result<String> {
    let Value::Array(_) = row.value(field)? else {
        return Ok(row.text(field)?.to_string());
    };
    match row.messages(field)?.pop() {
        Some(last) if last.role == "assistant" => Ok(last.content),
        _ => Err(row.error(format!(
            "field \"{field}\" does not end with an assistant turn"
        ))),
    }
}
