//! `prompt`, `completion`: an instruction and its answer. As prompts, rows need no
//! `completion`.

use super::collector::{Collector, Want};
use super::format::Format;
use super::row::{Kind, Row, Source};
use crate::{Ask, Prompt, Result};

pub(super) const SOURCE: Source = Source {
    format: Format::PromptCompletion,
    name: "prompt/completion",
    fields: "prompt, completion",
    kind: Kind::Demonstrations,
    fits: |row| row.contains_key("prompt"),
    read,
};

fn read(row: &Row, collector: &mut Collector) -> Result<()> {
    let instruction = row.text("prompt")?.to_string();
    let ask = Ask::Instruction {
        instruction,
        input: String::new(),
    };
    if collector.want == Want::Prompts && !row.has("completion") {
        collector.prompt(Prompt {
            ask,
            reference: None,
        });
    } else {
        collector.demonstration(ask, row.text("completion")?);
    }
    Ok(())
}
