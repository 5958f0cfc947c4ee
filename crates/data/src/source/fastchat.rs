//! FastChat question files (`question_id`, `text` or `turns`, `category`) as prompts: the first turn of each.

use super::{Format, Kind, Row, Source, Tray};
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

fn read(row: &Row, tray: &mut Tray) -> Result<()> {
    let instruction = if row.has("turns") {
        let first = row.list("turns")?.first().and_then(|turn| turn.as_str());
        first.ok_or_else(|| row.error("field \"turns\" does not begin with a text"))?
    } else {
        row.text("text")?
    };
    let ask = Ask::Instruction {
        instruction: instruction.to_string(),
        input: String::new(),
    };
    tray.prompt(Prompt {
        ask,
        reference: None,
    });
    Ok(())
}
