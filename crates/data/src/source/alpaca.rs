//! Stanford Alpaca: `instruction`, optional `input`, `output`. Prompts may lack `output`.

use super::{Format, Kind, Row, Source, Tray, Want};
use crate::{Ask, Prompt, Result};

pub(super) const SOURCE: Source = Source {
    format: Format::Alpaca,
    name: "Alpaca",
    fields: "instruction, input, output",
    kind: Kind::Demonstrations,
    fits: |row| row.contains_key("instruction"),
    read,
};

fn read(row: &Row, tray: &mut Tray) -> Result<()> {
    let ask = Ask::Instruction {
        instruction: row.text("instruction")?.to_string(),
        input: row.text_or_empty("input")?.to_string(),
    };
    if tray.want == Want::Prompts && !row.has("output") {
        tray.prompt(Prompt {
            ask,
            reference: None,
        });
    } else {
        tray.demonstration(ask, row.text("output")?);
    }
    Ok(())
}
