//! Checks that a chat template left out no turn of a conversation.

use crate::findings::beginning;
use crate::record::{TOOL, TOOLS};
use crate::{Ask, Error, Message, Result};

/// Fails if the text lacks a system or user turn of the conversation, or an assistant's without
/// reasoning (which templates take out of earlier turns on purpose). Tools and their results, which
/// templates write in many ways, are checked by [`crate::tools::check`].
pub(crate) fn check_turns(ask: &Ask, text: &str) -> Result<()> {
    let Ask::Chat(messages) = ask else {
        return Ok(());
    };
    let may_be_cut = |m: &Message| match m.role.as_str() {
        "assistant" => m.content.contains("</think>"),
        role => [TOOL, TOOLS].contains(&role),
    };
    let lost = |m: &&Message| !may_be_cut(m) && !text.contains(m.content.trim());
    match messages.iter().find(lost) {
        None => Ok(()),
        Some(Message { role, content, .. }) => {
            let begin = beginning(content);
            Err(Error(format!(
                "the chat template leaves out the {role} turn {begin:?}; remove such turns, or set \
                 model.template = \"alpaca\" or \"raw\""
            )))
        }
    }
}
