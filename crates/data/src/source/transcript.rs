//! Transcripts `\n\nHuman: … \n\nAssistant: …`, as in Anthropic's HH and DeepSpeed-Chat's data.

use crate::Message;

pub(super) const HUMAN: &str = "\n\nHuman:";
pub(super) const ASSISTANT: &str = "\n\nAssistant:";

/// The turns of `Human: … Assistant: … Human: … Assistant:`; `None` for any other text.
pub(super) fn conversation(text: &str) -> Option<Vec<Message>> {
    let asked = text.trim().strip_suffix(ASSISTANT)?;
    if !asked.starts_with("Human:") {
        return None;
    }
    let messages = turns(&format!("\n\n{asked}"));
    (messages.last()?.role == "user").then_some(messages)
}

/// The turns of a transcript that begins with `\n\nHuman:`.
pub(super) fn turns(mut transcript: &str) -> Vec<Message> {
    let mut messages = Vec::new();
    while !transcript.is_empty() {
        let (role, rest) = match transcript.strip_prefix(HUMAN) {
            Some(rest) => ("user", rest),
            None => (
                "assistant",
                transcript.strip_prefix(ASSISTANT).unwrap_or(transcript),
            ),
        };
        let next = [HUMAN, ASSISTANT]
            .iter()
            .filter_map(|marker| rest.find(marker))
            .min();
        let end = next.unwrap_or(rest.len());
        messages.push(Message::new(role, rest[..end].trim()));
        transcript = &rest[end..];
    }
    messages
}
