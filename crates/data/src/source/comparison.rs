//! GPT-4-LLM comparison data (Instruction-Tuning-with-GPT-4).
//!
//! Version 1: `user_input`, `completion_a` (the better), `completion_b`. Version 2: `user_input`,
//! `responses_and_scores`, a list of `{response, score}`; every pair of responses with different
//! scores is a preference. A `user_input` is an instruction, followed by a blank line and its input
//! if it has one.

use super::collector::Collector;
use super::format::Format;
use super::prompt;
use super::row::{Kind, Row, Source};
use super::scored;
use crate::{Ask, Result};

pub(super) const V1: Source = Source {
    format: Format::ComparisonV1,
    name: "comparison (version 1)",
    fields: "user_input, completion_a (the better), completion_b",
    descriptive: &[],
    refused: &[],
    kind: Kind::Preferences,
    fits: |row| row.contains_key("user_input") && row.contains_key("completion_a"),
    read: read_v1,
};

pub(super) const V2: Source = Source {
    format: Format::ComparisonV2,
    name: "comparison (version 2)",
    fields: "user_input, responses_and_scores: a list of {response, score}",
    descriptive: &[],
    refused: &[],
    kind: Kind::Preferences,
    fits: |row| row.contains_key("user_input") && row.contains_key("responses_and_scores"),
    read: read_v2,
};

fn ask(row: &Row) -> Result<Ask> {
    prompt::ask(row, row.text("user_input")?, "")
}

fn read_v1(row: &Row, collector: &mut Collector) -> Result<()> {
    collector.preference(
        ask(row)?,
        row.text("completion_a")?,
        row.text("completion_b")?,
    );
    Ok(())
}

fn read_v2(row: &Row, collector: &mut Collector) -> Result<()> {
    const LIST: &str = "responses_and_scores";
    let mut scored = Vec::new();
    for (i, item) in row.list(LIST)?.iter().enumerate() {
        row.only_read(LIST, item, &["response", "score"]);
        let response = row.text_at(LIST, i, item, "response")?.to_string();
        scored.push((response, row.number_at(LIST, i, item, "score")?));
    }
    scored::add_pairs(collector, &ask(row)?, &scored, f64::partial_cmp);
    Ok(())
}
