//! OpenAI's preference format: `input` with `messages`, and `preferred_output` and
//! `non_preferred_output`, a list of turns each. The tools stand in `input`, too.

use super::answered::{Answer, joined};
use super::collector::Collector;
use super::format::Format;
use super::json_text;
use super::prompt;
use super::row::{Kind, Row, Source};
use super::tools;
use super::turns;
use crate::{Ask, Message, Result};
use serde_json::Value;

const BETTER: &str = "preferred_output";
const WORSE: &str = "non_preferred_output";

pub(super) const SOURCE: Source = Source {
    format: Format::OpenaiPreference,
    name: "OpenAI preference",
    fields: "input: {messages}, preferred_output, non_preferred_output",
    descriptive: &[],
    refused: &[],
    kind: Kind::Preferences,
    fits: |row| row.contains_key(BETTER) && row.contains_key(WORSE),
    read,
};

fn read(row: &Row, collector: &mut Collector) -> Result<()> {
    let (tools, input) = input(row)?;
    let (chosen, rejected) = (Answer::read(row, BETTER)?, Answer::read(row, WORSE)?);
    if chosen.before != rejected.before {
        return Err(row.error(format!(
            "the turns before the answers of {BETTER:?} and {WORSE:?} differ; a pair has one prompt"
        )));
    }
    let messages = joined(input, chosen.before).ok_or_else(|| {
        row.error(format!(
            "the turns before the answers of {BETTER:?} and {WORSE:?} do not follow \"input\""
        ))
    })?;
    let messages = prompt::with_context(row, messages)?;
    let messages = tools.into_iter().chain(messages).collect::<Vec<_>>();
    if collector.takes(&messages, "prompt that does not end with a user turn") {
        collector.preference(Ask::Chat(messages), &chosen.text, &rejected.text);
    }
    Ok(())
}

/// The tools and turns of `input`, an object or the text of one.
fn input(row: &Row) -> Result<(Option<Message>, Vec<Message>)> {
    const FIELD: &str = "input";
    let value = row.value(FIELD)?;
    let of_text = value.as_str().and_then(json_text::object);
    if of_text.is_some() {
        row.mark_json_text(FIELD);
    }
    let object = of_text.as_ref().unwrap_or(value);
    if !object.is_object() {
        return Err(row.wrong(FIELD, value, "an object"));
    }
    // parallel_tool_calls is a setting of their API
    let mut known = vec!["messages", "parallel_tool_calls"];
    let tools = match object.get("tools").and_then(Value::as_array) {
        Some(items) if !items.is_empty() && !row.drops_tools() => {
            known.push("tools");
            let items = match of_text.is_some() {
                true => items.clone(),
                false => tools::filled(row, items),
            };
            tools::declaration(row, "input.tools", items)?
        }
        _ => None,
    };
    if tools.is_some() && tools::of_row(row)?.is_some() {
        return Err(row.error(
            "fields \"tools\" and \"input.tools\" mean the same; remove one of them, or set \
             data.ignore = [\"tools\"]",
        ));
    }
    row.only_read_of(FIELD, object, &known);
    let name = "input.messages";
    match object.get("messages") {
        Some(Value::Array(items)) => Ok((tools, turns::of_items(row, name, items)?)),
        Some(other) => Err(row.wrong(name, other, "a list")),
        None => Err(row.error(format!("field \"{name}\" is missing"))),
    }
}
