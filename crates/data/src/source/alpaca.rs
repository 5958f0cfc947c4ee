//! Stanford Alpaca: `instruction`, optional `input`, `output`. As prompts, rows need no `output`.

use super::collector::{Collector, Want};
use super::format::Format;
use super::row::{Kind, Row, Source};
use crate::{Ask, Prompt, Result};

pub(super) const SOURCE: Source = Source {
    format: Format::Alpaca,
    name: "Alpaca",
    fields: "instruction, input, output",
    kind: Kind::Demonstrations,
    fits: |row| row.contains_key("instruction"),
    read,
};

fn read(row: &Row, collector: &mut Collector) -> Result<()> {
    let ask = Ask::Instruction {
        instruction: row.text("instruction")?.to_string(),
        input: row.text_or_empty("input")?.to_string(),
    };
    if collector.want == Want::Prompts && !row.has("output") {
        collector.prompt(Prompt {
            ask,
            reference: None,
        });
    } else {
        collector.demonstration(ask, row.text("output")?);
    }
    Ok(())
}
