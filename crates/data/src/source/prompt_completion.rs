//! `prompt`, `completion`: an instruction and its answer. As prompts, rows need no
//! `completion`.

use super::collector::{Collector, Want};
use super::format::Format;
use super::prompt;
use super::row::{Kind, Row, Source};
use crate::Result;
use serde_json::Value;

pub(super) const SOURCE: Source = Source {
    format: Format::PromptCompletion,
    name: "prompt/completion",
    fields: "prompt, completion",
    descriptive: &[],
    kind: Kind::Demonstrations,
    fits: |row| row.contains_key("prompt"),
    read,
};

fn read(row: &Row, collector: &mut Collector) -> Result<()> {
    if let Value::Array(_) = row.value("prompt")? {
        return Err(row.error(
            "field \"prompt\" is a list of messages, not a string; put it with the answer into one \
             list, \"messages\"",
        ));
    }
    let ask = prompt::ask(row, row.text("prompt")?, "")?;
    if collector.want == Want::Prompts && !row.has("completion") {
        collector.prompt(ask, None);
    } else {
        collector.demonstration(ask, row.text("completion")?);
    }
    Ok(())
}
