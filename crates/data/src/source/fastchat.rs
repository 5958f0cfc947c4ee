//! FastChat question files: `question_id`, `text` or `turns`, `category`. The first turn is the
//! prompt.

use super::collector::Collector;
use super::format::Format;
use super::row::{Kind, Row, Source};
use crate::{Ask, Prompt, Result};

pub(super) const SOURCE: Source = Source {
    format: Format::Fastchat,
    name: "FastChat question",
    fields: "question_id, text (or turns), category",
    kind: Kind::Questions,
    fits: |row| {
        row.contains_key("question_id") && (row.contains_key("text") || row.contains_key("turns"))
    },
    read,
};

fn read(row: &Row, collector: &mut Collector) -> Result<()> {
    let instruction = if row.has("turns") {
        let first = row.list("turns")?.first().and_then(|turn| turn.as_str());
        first.ok_or_else(|| row.error("field \"turns\" does not begin with a string"))?
    } else {
        row.text("text")?
    };
    let ask = Ask::Instruction {
        instruction: instruction.to_string(),
        input: String::new(),
    };
    collector.prompt(Prompt {
        ask,
        reference: None,
    });
    Ok(())
}
