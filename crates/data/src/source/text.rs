//! Plain text for pre-training: `text`, or the lines of a `.txt` file. The prompt is empty, the text is the response.

use super::{Format, Kind, Row, Source, Tray};
use crate::{Ask, Result};

pub(super) const SOURCE: Source = Source {
    format: Format::Text,
    name: "text",
    fields: "text (or are the lines of a .txt file)",
    kind: Kind::Demonstrations,
    fits: |row| row.contains_key("text"),
    read,
};

fn read(row: &Row, tray: &mut Tray) -> Result<()> {
    tray.demonstration(Ask::Raw(String::new()), row.text("text")?);
    Ok(())
}
