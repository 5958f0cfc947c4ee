//! `prompt`, `completion`: an instruction and its answer. Prompts may lack `completion`.

use super::{Format, Kind, Row, Source, Tray, Want};
use crate::{Ask, Prompt, Result};

pub(super) const SOURCE: Source = Source {
    format: Format::PromptCompletion,
    name: "prompt/completion",
    fields: "prompt, completion",
    kind: Kind::Demonstrations,
    fits: |row| row.contains_key("prompt"),
    read,
};

fn read(row: &Row, tray: &mut Tray) -> Result<()> {
    let instruction = row.text("prompt")?.to_string();
    let ask = Ask::Instruction {
        instruction,
        input: String::new(),
    };
    if tray.want == Want::Prompts && !row.has("completion") {
        tray.prompt(Prompt {
            ask,
            reference: None,
        });
    } else {
        tray.demonstration(ask, row.text("completion")?);
    }
    Ok(())
}
