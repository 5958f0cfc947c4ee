//! PKU-SafeRLHF: `prompt`, `response_0`, `response_1`, and `better_response_id`, 0 or 1: the
//! preference for helpfulness. The one for safety (`safer_response_id`) may differ and is not used.

use super::collector::Collector;
use super::format::Format;
use super::prompt;
use super::row::{Kind, Row, Source};
use crate::Result;

pub(super) const SOURCE: Source = Source {
    format: Format::SafeRlhf,
    name: "PKU-SafeRLHF",
    fields: "prompt, response_0, response_1, better_response_id (0 or 1)",
    descriptive: &[],
    refused: &[],
    kind: Kind::Preferences,
    fits: |row| {
        let fields = ["response_0", "response_1", "better_response_id"];
        fields.iter().all(|name| row.contains_key(*name))
    },
    read,
};

fn read(row: &Row, collector: &mut Collector) -> Result<()> {
    let [zero, one] = [row.text("response_0")?, row.text("response_1")?];
    let [chosen, rejected] = match row.zero_or_one("better_response_id")? {
        false => [zero, one],
        true => [one, zero],
    };
    let ask = prompt::ask(row, row.text("prompt")?, "")?;
    collector.preference(ask, chosen, rejected);
    Ok(())
}
