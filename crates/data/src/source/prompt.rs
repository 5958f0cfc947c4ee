//! The prompt of a row in any format of single prompts: a text, with the `system` prompt and the
//! `history` field, if there is one.

use super::row::Row;
use super::tools;
use super::turns;
use crate::{Ask, Message, Result};
use serde_json::Value;

/// The prompt `instruction` with `input`, after the row's `system` (or `system_prompt`) and
/// `history`. A Human/Assistant transcript in the instruction is read as a conversation.
pub(super) fn ask(row: &Row, instruction: &str, input: &str) -> Result<Ask> {
    let mut messages = history(row)?;
    let is_alone = input.trim().is_empty();
    match is_alone.then(|| row.transcript(instruction)).flatten() {
        Some(turns) => messages.extend(turns),
        None => {
            let ask = Ask::Instruction {
                instruction: instruction.to_string(),
                input: input.to_string(),
            };
            if messages.is_empty() && system(row)?.is_empty() && tools::of_row(row)?.is_none() {
                return Ok(ask);
            }
            messages.push(Message::new("user", &ask.text()));
        }
    }
    with_context(row, messages).map(Ask::Chat)
}

/// The conversation after the row's `tools` and `system` prompt. One that begins with another
/// system prompt is an error.
pub(super) fn with_context(row: &Row, messages: Vec<Message>) -> Result<Vec<Message>> {
    let messages = with_system(row, messages)?;
    Ok(tools::of_row(row)?.into_iter().chain(messages).collect())
}

fn with_system(row: &Row, mut messages: Vec<Message>) -> Result<Vec<Message>> {
    let system = system(row)?;
    if system.is_empty() {
        return Ok(messages);
    }
    match messages.iter().find(|message| message.role == "system") {
        Some(other) if other.content.trim() == system.trim() => {}
        Some(_) => return Err(row.error("has two different system prompts; remove one of them")),
        None => messages.insert(0, Message::new("system", system)),
    }
    Ok(messages)
}

fn system<'a>(row: &Row<'a>) -> Result<&'a str> {
    let field = row.one_of(["system", "system_prompt"])?;
    match row.says(field) {
        true => row.text(field),
        false => Ok(""),
    }
}

/// Turns before the prompt: `[["a question", "its answer"], …]`, or messages.
fn history(row: &Row) -> Result<Vec<Message>> {
    if !row.says("history") {
        return Ok(Vec::new());
    }
    let asked = row.list("history")?;
    if asked.iter().all(Value::is_object) {
        return turns::read(row, "history");
    }
    let mut messages = Vec::new();
    for turn in asked.iter() {
        let texts = turn.as_array().map(Vec::as_slice);
        let Some([Value::String(question), Value::String(answer)]) = texts else {
            return Err(row.error(
                "field \"history\" is neither a list of [question, answer] nor of messages",
            ));
        };
        messages.push(Message::new("user", question));
        messages.push(Message::new("assistant", answer));
    }
    Ok(messages)
}
