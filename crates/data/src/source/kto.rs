//! KTO's rows: `prompt`, `completion` and `label`, which says whether the completion is good. Every
//! other stage would learn the bad ones, too, so a row is refused there. As prompts they are used;
//! a good completion is the reference.

use super::collector::{Collector, Want};
use super::format::Format;
use super::prompt_completion;
use super::row::{Kind, Refused, Row, Source};
use super::unused::is_empty;
use crate::Result;
use serde_json::{Map, Value};

const LABELS: [&str; 3] = ["label", "kto_tag", "desirable"];

pub(super) const SOURCE: Source = Source {
    format: Format::Kto,
    name: "KTO",
    fields: "prompt, completion, label (true or false)",
    descriptive: &[],
    refused: &[Refused {
        fields: &LABELS,
        why: "says whether the completion is good (KTO), and this stage would learn the bad ones, \
              too; keep the rows where it is true, without the field",
    }],
    kind: Kind::Demonstrations,
    fits,
    read,
};

fn fits(row: &Map<String, Value>) -> bool {
    let label = |name: &str| row.get(name).is_some_and(|value| !is_empty(value));
    row.contains_key("prompt") && row.contains_key("completion") && LABELS.into_iter().any(label)
}

fn read(row: &Row, collector: &mut Collector) -> Result<()> {
    if collector.want != Want::Prompts {
        return (prompt_completion::SOURCE.read)(row, collector);
    }
    let said = LABELS.into_iter().find(|name| row.says(name));
    let is_good = row.truth(said.unwrap_or(LABELS[0]))?;
    let before = collector.prompts.len();
    (prompt_completion::SOURCE.read)(row, collector)?;
    if !is_good {
        for prompt in &mut collector.prompts[before..] {
            prompt.reference = None;
        }
    }
    Ok(())
}
