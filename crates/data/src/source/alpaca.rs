//! Stanford Alpaca: `instruction`, optional `input`, `output`; Dolly's `context` and `response` are
//! the same by other names. `system` and `history` are read. As prompts, rows need no answer.

use super::collector::{Collector, Want};
use super::format::Format;
use super::pairs;
use super::prompt;
use super::question_answer;
use super::row::{Kind, Row, Source};
use crate::Result;

pub(super) const SOURCE: Source = Source {
    format: Format::Alpaca,
    name: "Alpaca",
    fields: "instruction, input, output",
    descriptive: &["category"],
    refused: &[],
    kind: Kind::Demonstrations,
    fits: |row| {
        let has = |name: &str| row.contains_key(name);
        let is_pair = pairs::answers(row).is_some() && !has("output") && !has("response");
        has("instruction") && !is_pair
    },
    read,
};

fn read(row: &Row, collector: &mut Collector) -> Result<()> {
    let input = row.text_or_empty(row.one_of(["input", "context"])?)?;
    let ask = prompt::ask(row, row.text("instruction")?, input)?;
    const OUTPUTS: [&str; 2] = ["output", "response"];
    if collector.want == Want::Prompts
        && question_answer::without_reference(row, &OUTPUTS, collector)
    {
        collector.prompt(ask, None);
        return Ok(());
    }
    let output = row.one_of(OUTPUTS)?;
    if collector.want == Want::Prompts && !row.has(output) {
        collector.prompt(ask, None);
    } else {
        collector.demonstration(ask, row.text(output)?);
    }
    Ok(())
}
