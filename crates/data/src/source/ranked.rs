//! Ranked answers, as Nectar has them: `prompt`, and `answers` with a `rank` each, 1 the best.
//! Every pair of answers with different ranks is a preference.

use super::collector::Collector;
use super::format::Format;
use super::json_text;
use super::prompt;
use super::row::{Kind, Row, Source};
use super::scored;
use crate::Result;
use serde_json::Value;

pub(super) const SOURCE: Source = Source {
    format: Format::Ranked,
    name: "ranked answers",
    fields: "prompt, answers: a list of {answer, rank}, rank 1 the best",
    descriptive: &["turns", "num_responses", "source", "good_natured"],
    refused: &[],
    kind: Kind::Preferences,
    fits: |row| {
        let ranked = match row.get("answers") {
            Some(Value::Array(list)) => list.iter().any(|answer| answer.get("rank").is_some()),
            Some(Value::String(text)) => json_text::is_list(text) && text.contains("\"rank\""),
            _ => false,
        };
        row.contains_key("prompt") && ranked
    },
    read,
};

fn read(row: &Row, collector: &mut Collector) -> Result<()> {
    const LIST: &str = "answers";
    let mut scored = Vec::new();
    for (i, item) in row.list(LIST)?.iter().enumerate() {
        row.only_read(LIST, item, &["answer", "rank"]);
        let answer = row.text_at(LIST, i, item, "answer")?.to_string();
        scored.push((answer, -row.number_at(LIST, i, item, "rank")?));
    }
    let ask = prompt::ask(row, row.text("prompt")?, "")?;
    scored::add_pairs(collector, &ask, &scored, f64::partial_cmp);
    Ok(())
}
