//! Anthropic HH: `chosen` and `rejected`, two transcripts `\n\nHuman: … \n\nAssistant: …` that are
//! the same up to the last Assistant turn.

use super::collector::Collector;
use super::format::Format;
use super::prompt::with_system;
use super::row::{Kind, Row, Source};
use super::transcript::{ASSISTANT, HUMAN, turns};
use crate::{Ask, Result};

pub(super) const SOURCE: Source = Source {
    format: Format::Hh,
    name: "HH",
    fields: "chosen, rejected: transcripts of \"\\n\\nHuman: …\\n\\nAssistant: …\"",
    descriptive: &[],
    refused: &[],
    kind: Kind::Preferences,
    fits: |row| {
        ["chosen", "rejected"]
            .iter()
            .all(|f| row.get(*f).is_some_and(|v| v.is_string()))
    },
    read,
};

fn read(row: &Row, collector: &mut Collector) -> Result<()> {
    let (prompt, chosen) = split(row, "chosen")?;
    let (other_prompt, rejected) = split(row, "rejected")?;
    if prompt != other_prompt {
        // the published data has a few, so they are no mistake of the user's
        collector.drop_row("chosen and rejected with different prompts");
    } else if chosen.contains(HUMAN) || rejected.contains(HUMAN) {
        collector.drop_row("transcript that ends with a Human turn");
    } else {
        let messages = turns(prompt);
        match messages.last() {
            Some(last) if last.role == "user" => {
                let messages = with_system(row, messages)?;
                collector.preference(Ask::Chat(messages), chosen, rejected);
            }
            _ => collector.drop_row("transcript without a Human turn before its answer"),
        }
    }
    Ok(())
}

/// The transcript up to the last Assistant turn, and that turn.
fn split<'a>(row: &Row<'a>, field: &str) -> Result<(&'a str, &'a str)> {
    let text = row.text(field)?;
    let malformed = |what: &str| row.error(format!("field \"{field}\" {what}"));
    if !text.starts_with(HUMAN) {
        return Err(malformed(
            "does not begin with \"\\n\\nHuman:\", and answers alone need a field \"prompt\"",
        ));
    }
    let (prompt, answer) = text
        .rsplit_once(ASSISTANT)
        .ok_or_else(|| malformed("has no \"\\n\\nAssistant:\" turn"))?;
    Ok((prompt, answer.trim()))
}
