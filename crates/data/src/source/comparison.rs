//! GPT-4-LLM comparison data (Instruction-Tuning-with-GPT-4).
//!
//! Version 1: `user_input`, `completion_a` (the better), `completion_b`. Version 2: `user_input`,
//! `responses_and_scores`, a list of `{response, score}`; every pair of responses with different
//! scores is a preference. A `user_input` is an instruction, followed by a blank line and its input
//! if it has one.

use super::collector::{Collector, Want};
use super::format::Format;
use super::prompt;
use super::row::{Kind, Row, Source, number};
use crate::{Ask, Result};
use serde_json::Value;

pub(super) const V1: Source = Source {
    format: Format::ComparisonV1,
    name: "comparison (version 1)",
    fields: "user_input, completion_a (the better), completion_b",
    descriptive: &[],
    kind: Kind::Preferences,
    fits: |row| row.contains_key("user_input") && row.contains_key("completion_a"),
    read: read_v1,
};

pub(super) const V2: Source = Source {
    format: Format::ComparisonV2,
    name: "comparison (version 2)",
    fields: "user_input, responses_and_scores: a list of {response, score}",
    descriptive: &[],
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
    let mut scored: Vec<(&str, f64)> = Vec::new();
    for (i, item) in row.list(LIST)?.iter().enumerate() {
        row.only_read(LIST, item, &["response", "score", "source"]);
        scored.push((
            row.text_at(LIST, i, item, "response")?,
            score(row, i, item)?,
        ));
    }
    let ask = ask(row)?;
    if scored.len() < 2 {
        collector.drop_row("fewer than two responses");
        return Ok(());
    }
    if collector.want == Want::Prompts {
        collector.preference(ask, scored[0].0, scored[1].0);
        return Ok(());
    }
    for (i, (one, one_score)) in scored.iter().enumerate() {
        for (other, other_score) in &scored[i + 1..] {
            if one_score > other_score {
                collector.preference(ask.clone(), one, other);
            } else if one_score < other_score {
                collector.preference(ask.clone(), other, one);
            } else {
                collector.drop_row("pair with equal scores");
            }
        }
    }
    Ok(())
}

/// A number, or a number in a string, as some releases have it.
fn score(row: &Row, index: usize, item: &Value) -> Result<f64> {
    let name = format!("responses_and_scores[{index}].score");
    let value = item.get("score");
    let value = value.ok_or_else(|| row.error(format!("field \"{name}\" is missing")))?;
    number(value).ok_or_else(|| row.error(format!("field \"{name}\" is {value}, not a number")))
}
