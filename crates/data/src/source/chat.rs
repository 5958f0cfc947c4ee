//! Conversations: `messages` of role and content, or ShareGPT's `conversations` of from and value,
//! with an optional `system` prompt beside them. A content may be a list of text parts. The last
//! assistant turn is the response; the turns before it are the prompt.

use super::collector::{Collector, Want};
use super::format::Format;
use super::prompt;
use super::row::{Kind, Row, Source};
use crate::{Ask, Result};

pub(super) const SOURCE: Source = Source {
    format: Format::Chat,
    name: "chat",
    fields: "messages: a list of {role, content}",
    descriptive: &[],
    kind: Kind::Demonstrations,
    fits: |row| row.contains_key("messages") || row.contains_key("conversations"),
    read,
};

fn read(row: &Row, collector: &mut Collector) -> Result<()> {
    let field = match !row.has("messages") && row.has("conversations") {
        true => "conversations",
        false => "messages",
    };
    let mut messages = prompt::with_system(row, row.messages(field)?)?;
    let answer = messages.pop_if(|last| last.role == "assistant");
    let has_user = messages.iter().any(|message| message.role == "user");
    let otherwise = match messages.last().map(|last| last.role.as_str()) {
        Some("assistant") if answer.is_some() => {
            "conversation that ends with two assistant turns in a row"
        }
        Some("system") if has_user => "conversation with a system turn before its answer",
        _ => "conversation without a user turn before its answer",
    };
    if !collector.takes(&messages, otherwise) {
        return Ok(());
    }
    match answer {
        Some(answer) => collector.demonstration(Ask::Chat(messages), &answer.content),
        None if collector.want == Want::Prompts => collector.prompt(Ask::Chat(messages), None),
        None => collector.drop_row("conversation that does not end with an assistant turn"),
    }
    Ok(())
}
