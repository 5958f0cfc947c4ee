//! Plain text for pre-training: `text`, or the lines of a `.txt` file. The prompt is empty and the
//! text is the response.

use super::collector::Collector;
use super::format::Format;
use super::row::{Kind, Row, Source};
use crate::{Ask, Result};

pub(super) const SOURCE: Source = Source {
    format: Format::Text,
    name: "text",
    fields: "text (in a .txt file, each line)",
    descriptive: &[],
    refused: &[],
    kind: Kind::Texts,
    fits: |row| row.contains_key("text"),
    read,
};

fn read(row: &Row, collector: &mut Collector) -> Result<()> {
    collector.demonstration(Ask::Raw(String::new()), row.text("text")?);
    Ok(())
}
