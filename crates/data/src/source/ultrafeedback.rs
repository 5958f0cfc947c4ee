//! UltraFeedback as OpenBMB publishes it: `instruction`, and `completions` with an `overall_score`
//! each (or `fine-grained_score`, the mean of its four ratings). Every pair of completions with
//! different scores is a preference. The binarised versions are [`pairs`](super::pairs).

use super::collector::Collector;
use super::format::Format;
use super::prompt;
use super::row::{Kind, Row, Source};
use super::scored;
use crate::Result;

pub(super) const SOURCE: Source = Source {
    format: Format::Ultrafeedback,
    name: "UltraFeedback",
    fields: "instruction, completions: a list of {response, overall_score}",
    descriptive: &["source", "models", "correct_answers", "incorrect_answers"],
    refused: &[],
    kind: Kind::Preferences,
    fits: |row| row.contains_key("instruction") && row.contains_key("completions"),
    read,
};

fn read(row: &Row, collector: &mut Collector) -> Result<()> {
    const LIST: &str = "completions";
    const MEAN: &str = "fine-grained_score";
    // how a completion was made and judged
    let mut scored = Vec::new();
    for (i, item) in row.list(LIST)?.iter().enumerate() {
        let overall = item
            .get("overall_score")
            .is_some_and(|score| !score.is_null());
        let score = match overall || item.get(MEAN).is_none() {
            true => "overall_score",
            false => MEAN,
        };
        let known = ["response", "overall_score", MEAN];
        row.only_read(LIST, item, &known);
        let response = row.text_at(LIST, i, item, "response")?.to_string();
        scored.push((response, row.number_at(LIST, i, item, score)?));
    }
    let ask = prompt::ask(row, row.text("instruction")?, "")?;
    scored::add_pairs(collector, &ask, &scored);
    Ok(())
}
