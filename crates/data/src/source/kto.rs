//! KTO's rows: `prompt`, `completion` and `label`, which says whether the completion is good. Every
//! other stage would learn the bad ones, too, so a row is refused there. As prompts they are used;
//! a good completion is the reference.

use super::collector::{Collector, Want};
use super::format::Format;
use super::prompt_completion;
use super::row::{Kind, Refused, Row, Source};
use super::scalar::truth;
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
              too",
    }],
    kind: Kind::Demonstrations,
    fits,
    read,
};

fn fits(row: &Map<String, Value>) -> bool {
    let label = |name: &str| row.get(name).and_then(truth).is_some();
    row.contains_key("prompt") && row.contains_key("completion") && LABELS.into_iter().any(label)
}

fn read(row: &Row, collector: &mut Collector) -> Result<()> {
    let before = collector.prompts.len();
    (prompt_completion::SOURCE.read)(row, collector)?;
    if collector.want != Want::Prompts {
        return Ok(());
    }
    let labels = LABELS.into_iter();
    let labels = labels.filter_map(|name| Some((name, row.peek(name).and_then(truth)?)));
    let mut is_good = true;
    for (name, label) in labels {
        row.mark_read(name);
        is_good &= label;
    }
    if !is_good {
        let prompts = &mut collector.prompts[before..];
        prompts
            .iter_mut()
            .for_each(|prompt| prompt.reference = None);
    }
    Ok(())
}
