//! `prompt`, `chosen`, `rejected`. The prompt is a string or a list of messages; an answer is a
//! string, or a list of messages that ends with an assistant turn (TRL's conversational form). The
//! turns before that one belong to the prompt, must be the same in both lists, and may stand in
//! place of `prompt`.
//!
//! `score_chosen` and `score_rejected` (or `chosen_score`, `chosen_rating`, …) must agree with the
//! order.

use super::collector::Collector;
use super::format::Format;
use super::prompt;
use super::row::{Kind, Row, Source};
use super::transcript::HUMAN;
use crate::{Ask, Message, Result};
use serde_json::Value;

pub(super) const SOURCE: Source = Source {
    format: Format::Pairs,
    name: "pairs",
    fields: "prompt (a string or messages), chosen, rejected",
    descriptive: &[],
    kind: Kind::Preferences,
    fits: |row| {
        let list = |field: &str| row.get(field).is_some_and(Value::is_array);
        let both = row.contains_key("chosen") && row.contains_key("rejected");
        both && (row.contains_key("prompt") || list("chosen") || list("rejected"))
    },
    read,
};

const SCORES: [[&str; 2]; 4] = [
    ["score_chosen", "score_rejected"],
    ["chosen_score", "rejected_score"],
    ["rating_chosen", "rating_rejected"],
    ["chosen_rating", "rejected_rating"],
];

fn read(row: &Row, collector: &mut Collector) -> Result<()> {
    let chosen = Answer::read(row, "chosen")?;
    let rejected = Answer::read(row, "rejected")?;
    let equal_scores = check_scores(row)?;
    if [&chosen, &rejected]
        .iter()
        .all(|a| a.text.starts_with(HUMAN))
    {
        return Err(row.error(
            "\"chosen\" and \"rejected\" are whole transcripts, with the prompt in them; remove the \
             field \"prompt\", or set data.format = \"hh\"",
        ));
    }
    if chosen.before != rejected.before {
        return Err(row.error(
            "the turns before the answers of \"chosen\" and \"rejected\" differ; a pair has one \
             prompt",
        ));
    }
    let ask = ask(row, chosen.before)?;
    if let Ask::Chat(messages) = &ask
        && !collector.takes(messages, "prompt that does not end with a user turn")
    {
        return Ok(());
    }
    if equal_scores {
        collector.drop_row("pair with equal scores");
        return Ok(());
    }
    collector.preference(ask, &chosen.text, &rejected.text);
    Ok(())
}

/// An answer, and the turns before it in its list.
struct Answer {
    before: Vec<Message>,
    text: String,
}

impl Answer {
    fn read(row: &Row, field: &str) -> Result<Self> {
        let Value::Array(items) = row.value(field)? else {
            let (before, text) = (Vec::new(), row.text(field)?.to_string());
            return Ok(Self { before, text });
        };
        if !items.is_empty() && items.iter().all(Value::is_string) {
            return Err(row.error(format!(
                "field \"{field}\" is a list of {} texts, but a pair has one; write a row for \
                 each pair",
                items.len()
            )));
        }
        let mut before = row.messages(field)?;
        match before.pop() {
            Some(last) if last.role == "assistant" => Ok(Self {
                before,
                text: last.content,
            }),
            _ => Err(row.error(format!(
                "field \"{field}\" does not end with an assistant turn"
            ))),
        }
    }
}

/// The prompt of a pair: the field `prompt`, and the turns that both answers begin with.
fn ask(row: &Row, before: Vec<Message>) -> Result<Ask> {
    if !row.says("prompt") && !before.is_empty() {
        return prompt::with_system(row, before).map(Ask::Chat);
    }
    if let Value::Array(_) = row.value("prompt")? {
        let messages = joined(row, row.messages("prompt")?, before)?;
        return prompt::with_system(row, messages).map(Ask::Chat);
    }
    let text = row.text("prompt")?;
    if before.is_empty() {
        return prompt::ask(row, text, "");
    }
    // HuggingFaceH4's rows repeat the first question of the conversation, others its last.
    let users: Vec<&Message> = before.iter().filter(|m| m.role == "user").collect();
    let asks =
        |message: Option<&&Message>| message.is_some_and(|m| m.content.trim() == text.trim());
    if !asks(users.first()) && !asks(users.last()) {
        return Err(contradiction(row));
    }
    prompt::with_system(row, before).map(Ask::Chat)
}

/// `prompt` and then the turns before the answers, unless these repeat the prompt.
fn joined(row: &Row, mut prompt: Vec<Message>, before: Vec<Message>) -> Result<Vec<Message>> {
    if before.starts_with(&prompt) {
        return Ok(before);
    }
    // one turn of the answers' own continues the prompt only if the other speaker has it
    match (prompt.last(), before.first()) {
        (_, None) => Ok(prompt),
        (Some(last), Some(first)) if last.role == "user" && first.role == "assistant" => {
            prompt.extend(before);
            Ok(prompt)
        }
        _ => Err(contradiction(row)),
    }
}

fn contradiction(row: &Row) -> crate::Error {
    row.error("field \"prompt\" is not what \"chosen\" and \"rejected\" begin with")
}

/// Whether the row's scores are equal; an error if the rejected answer has the higher one.
fn check_scores(row: &Row) -> Result<bool> {
    let mut equal = false;
    for [better, worse] in SCORES {
        if !row.says(better) || !row.says(worse) {
            continue;
        }
        let (one, other) = (row.number(better)?, row.number(worse)?);
        if one < other {
            return Err(row.error(format!(
                "\"{better}\" is {one}, less than \"{worse}\", {other}; swap the answers"
            )));
        }
        equal |= one == other;
    }
    Ok(equal)
}
