//! UltraFeedback as OpenBMB publishes it: `instruction`, and `completions` with an `overall_score`
//! each, from 1 to 10 (or `fine-grained_score`, the mean of four ratings from 1 to 5). Every pair
//! of completions with different scores is a preference; scores of the two kinds are not compared.
//! The binarised versions are [`pairs`](super::pairs).

use super::collector::Collector;
use super::format::Format;
use super::prompt;
use super::row::{Kind, Row, Source};
use super::scalar::number;
use super::scored;
use crate::Result;
use std::cmp::Ordering;

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

/// The scores of a completion, one at least.
struct Scores {
    overall: Option<f64>,
    mean: Option<f64>,
}

impl Scores {
    fn compare(&self, other: &Self) -> Option<Ordering> {
        let both = |one: Option<f64>, other: Option<f64>| one?.partial_cmp(&other?);
        both(self.overall, other.overall).or_else(|| both(self.mean, other.mean))
    }

    /// Also of two scales, as in runs that began before [`run::Rules::Tools`].
    fn compare_any(&self, other: &Self) -> Option<Ordering> {
        let any = |scores: &Self| scores.overall.or(scores.mean);
        any(self)?.partial_cmp(&any(other)?)
    }
}

fn read(row: &Row, collector: &mut Collector) -> Result<()> {
    const LIST: &str = "completions";
    const OVERALL: &str = "overall_score";
    const MEAN: &str = "fine-grained_score";
    // how a completion was made and judged
    let mut scored = Vec::new();
    for (i, item) in row.list(LIST)?.iter().enumerate() {
        row.only_read(LIST, item, &["response", OVERALL, MEAN]);
        let response = row.text_at(LIST, i, item, "response")?.to_string();
        let has_overall = item.get(OVERALL).is_some_and(|score| !score.is_null());
        let scores = match has_overall || item.get(MEAN).is_none() {
            true => Scores {
                overall: Some(row.number_at(LIST, i, item, OVERALL)?),
                mean: item.get(MEAN).and_then(number),
            },
            false => Scores {
                overall: None,
                mean: Some(row.number_at(LIST, i, item, MEAN)?),
            },
        };
        scored.push((response, scores));
    }
    let ask = prompt::ask(row, row.text("instruction")?, "")?;
    match row.drops_tools() {
        true => scored::add_pairs(collector, &ask, &scored, Scores::compare_any),
        false => scored::add_pairs(collector, &ask, &scored, Scores::compare),
    }
    Ok(())
}
