//! Anthropic HH: `chosen` and `rejected`, two transcripts `\n\nHuman: … \n\nAssistant: …` that are
//! the same up to the last Assistant turn.

use super::collector::Collector;
use super::format::Format;
use super::prompt::with_context;
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
    let [chosen, rejected] = [row.text("chosen")?, row.text("rejected")?];
    let (prompt, chosen, other_prompt, rejected) = match (split(chosen), split(rejected)) {
        (Ok((prompt, chosen)), Ok((other, rejected))) => (prompt, chosen, other, rejected),
        (Err(what), _) => return malformed(row, "chosen", what, collector),
        (_, Err(what)) => return malformed(row, "rejected", what, collector),
    };
    if prompt != other_prompt {
        // the published data has a few, so they are no mistake of the user's
        collector.drop_row("chosen and rejected with different prompts");
    } else if chosen.contains(HUMAN) || rejected.contains(HUMAN) {
        collector.drop_row("transcript that ends with a Human turn");
    } else {
        let messages = turns(prompt);
        match messages.last() {
            Some(last) if last.role == "user" => {
                let messages = with_context(row, messages)?;
                collector.preference(Ask::Chat(messages), chosen, rejected);
            }
            _ => collector.drop_row("transcript without a Human turn before its answer"),
        }
    }
    Ok(())
}

const NO_HUMAN: &str = "does not begin with \"\\n\\nHuman:\"";

/// Drops a row in which a field is no transcript.
fn malformed(row: &Row, field: &str, what: &str, collector: &mut Collector) -> Result<()> {
    let advice = match what {
        NO_HUMAN => ", and answers alone need a field \"prompt\"",
        _ => "",
    };
    let error = row.error(format!("field \"{field}\" {what}{advice}"));
    collector.malformed(&format!("text that {what}"), error);
    Ok(())
}

/// The transcript up to the last Assistant turn, and that turn; or what is wrong with it.
fn split(text: &str) -> std::result::Result<(&str, &str), &'static str> {
    if !text.starts_with(HUMAN) {
        return Err(NO_HUMAN);
    }
    let (prompt, answer) = text
        .rsplit_once(ASSISTANT)
        .ok_or("has no \"\\n\\nAssistant:\" turn")?;
    Ok((prompt, answer.trim()))
}
