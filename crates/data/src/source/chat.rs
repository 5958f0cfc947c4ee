//! Conversations: `messages` of role and content, or ShareGPT's `conversations` of from and value,
//! with an optional `system` prompt beside them. A content may be a list of text parts. The last
//! assistant turn is the response; the turns before it are the prompt.

use super::collector::{Collector, Want};
use super::format::Format;
use super::prompt;
use super::remarks::Remark;
use super::row::{Kind, Row, Source};
use super::turns;
use crate::{Ask, Message, Result};
use serde_json::Value;

pub(super) const SOURCE: Source = Source {
    format: Format::Chat,
    name: "chat",
    fields: "messages: a list of {role, content}",
    descriptive: &["prompt_id"],
    refused: &[],
    kind: Kind::Demonstrations,
    fits: |row| {
        let usual = row.contains_key("messages") || row.contains_key("conversations");
        usual || turns::list_of(row).is_some()
    },
    read,
};

fn read(row: &Row, collector: &mut Collector) -> Result<()> {
    let lists = || turns::LISTS.into_iter();
    let of_turns = lists().find(|name| row.peek(name).is_some_and(turns::is_turns));
    let field = of_turns
        .or_else(|| lists().find(|name| row.says(name)))
        .or_else(|| lists().find(|name| row.has(name)));
    let messages = prompt::with_context(row, turns::read(row, field.unwrap_or("messages"))?)?;
    // UltraChat's prompt repeats the first question
    let prompt = row.peek("prompt").and_then(Value::as_str);
    let asked = |m: &&Message| m.role == "user" && Some(m.content.trim()) == prompt.map(str::trim);
    if messages.iter().any(|m| asked(&m)) {
        row.mark_read("prompt");
    }
    add(messages, collector);
    Ok(())
}

/// Adds a conversation: its last answer and what came before, or a prompt.
pub(super) fn add(mut messages: Vec<Message>, collector: &mut Collector) {
    let n_trailing = match collector.want {
        Want::Demonstrations => leave_out_trailing(&mut messages, collector),
        Want::Prompts | Want::Preferences => 0,
    };
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
        return;
    }
    match answer {
        Some(answer) => {
            let n_before = collector.n_records();
            collector.answered(Ask::Chat(messages), answer);
            if collector.n_records() > n_before {
                collector.remark(Remark::Trailing, n_trailing);
            }
        }
        None if collector.want == Want::Prompts => collector.prompt(Ask::Chat(messages), None),
        None => collector.drop_row("conversation that does not end with an assistant turn"),
    }
}

/// Leaves out what follows the last answer that is learnt, such as a user's `Thanks`, and returns
/// the number of those turns.
fn leave_out_trailing(messages: &mut Vec<Message>, collector: &Collector) -> usize {
    let is_answer = |m: &Message| m.role == "assistant" && !m.is_context;
    let Some(last) = messages.iter().rposition(is_answer) else {
        return 0;
    };
    let n = messages.len() - last - 1;
    if !messages[last + 1..].iter().all(|m| collector.knows_role(m)) {
        return 0;
    }
    messages.truncate(last + 1);
    n
}
