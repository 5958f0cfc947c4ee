//! An answer that is a text, one turn, or a list of turns that ends with the assistant's (TRL's
//! conversational form), and the prompt that it answers.

use super::prompt;
use super::row::Row;
use super::turns;
use crate::{Ask, Message, Result};
use serde_json::Value;

/// Fields that hold a prompt as text, the usual first.
pub(super) const PROMPTS: [&str; 5] = ["prompt", "instruction", "question", "query", "input"];

/// An answer, and the turns before it in its list.
pub(super) struct Answer {
    pub before: Vec<Message>,
    pub text: String,
}

impl Answer {
    /// Errors: the answer is of weight 0 or calls tools, so it is no text to learn.
    pub fn read(row: &Row, field: &str) -> Result<Self> {
        let (before, turn) = Self::read_turn(row, field)?;
        let what = match (turn.is_context, turn.fields.is_empty()) {
            (true, _) => "is of weight 0",
            (false, false) => "calls tools, and only a text can be learnt in rows of this format",
            (false, true) => {
                let text = turn.content;
                return Ok(Self { before, text });
            }
        };
        Err(row.error(format!(
            "the answer of field \"{field}\" {what}; remove such rows"
        )))
    }

    /// The answer as a turn, and the turns before it.
    pub fn read_turn(row: &Row, field: &str) -> Result<(Vec<Message>, Message)> {
        if let Value::Array(items) = row.value(field)?
            && !items.is_empty()
            && items.iter().all(Value::is_string)
        {
            return Err(row.error(format!(
                "field \"{field}\" is a list of {} texts, but a row has one; write a row for each",
                items.len()
            )));
        }
        let Some(mut before) = turns::read_if(row, field)? else {
            let turn = Message::new("assistant", row.text(field)?);
            return Ok((Vec::new(), turn));
        };
        match before.pop() {
            Some(turn) if turn.role == "assistant" => Ok((before, turn)),
            _ => Err(row.error(format!(
                "field \"{field}\" does not end with an assistant turn"
            ))),
        }
    }
}

/// The prompt of a row: its field of a prompt, and the turns that its answers begin with. `answers`
/// names their fields: `"chosen" and "rejected"`.
pub(super) fn ask(row: &Row, before: Vec<Message>, answers: &str) -> Result<Ask> {
    let says = |names: &[&'static str]| names.iter().copied().find(|name| row.says(name));
    let field = match says(&PROMPTS) {
        Some(field) => field,
        None if !before.is_empty() => {
            return prompt::with_context(row, before).map(Ask::Chat);
        }
        // LLaMA-Factory's pairs in ShareGPT's form, or an empty prompt
        None => turns::LISTS
            .into_iter()
            .find(|name| row.peek(name).is_some_and(turns::is_turns))
            .or_else(|| PROMPTS.into_iter().find(|name| row.has(name)))
            .unwrap_or(PROMPTS[0]),
    };
    let contradiction = || {
        row.error(format!(
            "field \"{field}\" is not what {answers} begin with"
        ))
    };
    if let Some(messages) = turns::read_if(row, field)? {
        let messages = joined(messages, before).ok_or_else(contradiction)?;
        return prompt::with_context(row, messages).map(Ask::Chat);
    }
    let text = row.text(field)?;
    if before.is_empty() {
        let input = match field {
            "instruction" => row.text_or_empty(row.one_of(["input", "context"])?)?,
            _ => "",
        };
        return prompt::ask(row, text, input);
    }
    // HuggingFaceH4's rows repeat the first question of the conversation, others its last.
    let users: Vec<&Message> = before.iter().filter(|m| m.role == "user").collect();
    let asks =
        |message: Option<&&Message>| message.is_some_and(|m| m.content.trim() == text.trim());
    if !asks(users.first()) && !asks(users.last()) {
        return Err(contradiction());
    }
    prompt::with_context(row, before).map(Ask::Chat)
}

/// `prompt` and then the turns before the answers, unless these repeat the prompt. None: they
/// contradict each other.
pub(super) fn joined(mut prompt: Vec<Message>, before: Vec<Message>) -> Option<Vec<Message>> {
    if before.starts_with(&prompt) {
        return Some(before);
    }
    // one turn of the answers' own continues the prompt only if the other speaker has it
    match (prompt.last(), before.first()) {
        (_, None) => Some(prompt),
        (Some(last), Some(first)) if last.awaits_answer() && first.role == "assistant" => {
            prompt.extend(before);
            Some(prompt)
        }
        _ => None,
    }
}
