//! Conversations: `messages` of role and content, or ShareGPT's `conversations` of from and value.
//! The last assistant turn is the response; the turns before it are the prompt.

use super::collector::{Collector, Want};
use super::format::Format;
use super::row::{Kind, Row, Source};
use crate::{Ask, Prompt, Result};

pub(super) const SOURCE: Source = Source {
    format: Format::Chat,
    name: "chat",
    fields: "messages: a list of {role, content}",
    kind: Kind::Demonstrations,
    fits: |row| row.contains_key("messages") || row.contains_key("conversations"),
    read,
};

fn read(row: &Row, collector: &mut Collector) -> Result<()> {
    let share_gpt = !row.has("messages") && row.has("conversations");
    let mut messages = row.messages(if share_gpt {
        "conversations"
    } else {
        "messages"
    })?;
    let answer = messages.pop_if(|last| last.role == "assistant");
    if messages.last().is_none_or(|last| last.role != "user") {
        collector.drop_row("conversation without a user turn before its answer");
        return Ok(());
    }
    match answer {
        Some(answer) => collector.demonstration(Ask::Chat(messages), &answer.content),
        None if collector.want == Want::Prompts => {
            collector.prompt(Prompt {
                ask: Ask::Chat(messages),
                reference: None,
            });
        }
        None => collector.drop_row("conversation that does not end with an assistant turn"),
    }
    Ok(())
}
