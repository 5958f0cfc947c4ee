//! FastChat question files: `question_id`, `text` or `turns`, `category`. The first turn is the
//! prompt; later ones are counted.

use super::collector::Collector;
use super::format::Format;
use super::prompt;
use super::row::{Kind, Row, Source};
use crate::Result;

pub(super) const SOURCE: Source = Source {
    format: Format::Fastchat,
    name: "FastChat question",
    fields: "question_id, text (or turns), category",
    descriptive: &["question_id", "category"],
    refused: &[],
    kind: Kind::Questions,
    fits: |row| {
        row.contains_key("question_id") && (row.contains_key("text") || row.contains_key("turns"))
    },
    read,
};

fn read(row: &Row, collector: &mut Collector) -> Result<()> {
    let question = if row.says("turns") || !row.has("text") {
        let turns = row.list("turns")?;
        let first = turns.first().and_then(|turn| turn.as_str());
        let first = first.map(str::to_string);
        collector.later_turns += turns.len().saturating_sub(1);
        first.ok_or_else(|| row.error("field \"turns\" does not begin with a string"))?
    } else {
        row.text("text")?.to_string()
    };
    collector.prompt(prompt::ask(row, &question, "")?, None);
    Ok(())
}
