//! `prompt`, `completion`: an instruction and its answer, each a text or a list of messages (TRL's
//! conversational form). As prompts, rows need no `completion`.

use super::answered::{self, Answer};
use super::collector::{Collector, Want};
use super::format::Format;
use super::row::{Kind, Row, Source};
use crate::{Ask, Result};

pub(super) const SOURCE: Source = Source {
    format: Format::PromptCompletion,
    name: "prompt/completion",
    fields: "prompt, completion",
    descriptive: &[],
    refused: &[],
    kind: Kind::Demonstrations,
    fits: |row| row.contains_key("prompt"),
    read,
};

fn read(row: &Row, collector: &mut Collector) -> Result<()> {
    let has_answer = collector.want != Want::Prompts || row.has("completion");
    let answer = has_answer
        .then(|| Answer::read_turn(row, "completion"))
        .transpose()?;
    let (before, answer) = match answer {
        Some((before, turn)) => (before, Some(turn)),
        None => (Vec::new(), None),
    };
    row.value("prompt")?;
    let ask = answered::ask(row, before, "\"completion\"")?;
    if let Ask::Chat(messages) = &ask
        && !collector.takes(messages, "prompt that does not end with a user turn")
    {
        return Ok(());
    }
    match answer {
        Some(answer) => collector.answered(ask, answer),
        None => collector.prompt(ask, None),
    }
    Ok(())
}
