//! Conversations that a field holds as one text with marks: Guanaco's `### Human:`, Vicuna's
//! `USER:`, HH's `Human:`, Llama 2's `[INST]`, ChatML and Zephyr. Only `data.format` chooses this:
//! a text with such marks could also be meant as it is.

use super::chat;
use super::collector::Collector;
use super::format::Format;
use super::prompt;
use super::row::{Kind, Row, Source};
use super::speakers;
use crate::Result;

const FIELDS: [&str; 4] = ["text", "transcript", "conversation", "prompt"];

pub(super) const SOURCE: Source = Source {
    format: Format::Transcript,
    name: "transcript",
    fields: "text, transcript, conversation or prompt with \"### Human:\", \"USER:\", \
             \"[INST]\" …, only by data.format",
    descriptive: &[],
    refused: &[],
    kind: Kind::Demonstrations,
    fits: |_| false,
    read,
};

fn read(row: &Row, collector: &mut Collector) -> Result<()> {
    let said: Vec<&str> = FIELDS.into_iter().filter(|name| row.says(name)).collect();
    let field = match said[..] {
        [] => FIELDS
            .into_iter()
            .find(|name| row.has(name))
            .unwrap_or(FIELDS[0]),
        [one] => one,
        [one, other, ..] => {
            return Err(row.error(format!(
                "fields \"{one}\" and \"{other}\" could each be the transcript; remove one of \
                 them, or set data.ignore = [\"{other}\"]"
            )));
        }
    };
    let text = row.text(field)?;
    if text.trim().is_empty() {
        collector.drop_row("empty text");
        return Ok(());
    }
    match speakers::turns(text) {
        Ok(turns) => chat::add(prompt::with_context(row, turns)?, collector),
        Err(what) => {
            let error = row.error(format!("field \"{field}\" {what}"));
            collector.malformed("text without turns of two speakers by turns", error);
        }
    }
    Ok(())
}
