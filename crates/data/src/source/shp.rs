//! Stanford Human Preferences: `history` (the post, a text), two comments `human_ref_A` and
//! `human_ref_B`, and `labels`: 1 where A is the better, 0 where B is. `score_A` and `score_B`, the
//! votes, must agree with that.

use super::collector::Collector;
use super::format::Format;
use super::prompt;
use super::row::{Kind, Row, Source};
use crate::{Ask, Message, Result};

pub(super) const SOURCE: Source = Source {
    format: Format::Shp,
    name: "SHP",
    fields: "history (a string), human_ref_A, human_ref_B, labels (1: A is the better, 0: B)",
    descriptive: &[
        "domain",
        "post_id",
        "upvote_ratio",
        "c_root_id_A",
        "c_root_id_B",
        "created_at_utc_A",
        "created_at_utc_B",
        "seconds_difference",
        "score_ratio",
    ],
    refused: &[],
    kind: Kind::Preferences,
    fits: |row| {
        let fields = ["history", "human_ref_A", "human_ref_B", "labels"];
        fields.iter().all(|name| row.contains_key(*name))
    },
    read,
};

fn read(row: &Row, collector: &mut Collector) -> Result<()> {
    let [a, b] = [row.text("human_ref_A")?, row.text("human_ref_B")?];
    let a_is_better = row.zero_or_one("labels")?;
    if row.says("score_A") && row.says("score_B") {
        let (of_a, of_b) = (row.number("score_A")?, row.number("score_B")?);
        let agree = if a_is_better {
            of_a >= of_b
        } else {
            of_b >= of_a
        };
        if !agree {
            return Err(row.error(format!(
                "\"labels\" is {}, but \"score_A\" is {of_a} and \"score_B\" {of_b}",
                u8::from(a_is_better)
            )));
        }
    }
    let post = row.text("history")?;
    let turns = row.transcript(post);
    let turns = turns.unwrap_or_else(|| vec![Message::new("user", post)]);
    let ask = Ask::Chat(prompt::with_context(row, turns)?);
    match a_is_better {
        true => collector.preference(ask, a, b),
        false => collector.preference(ask, b, a),
    }
    Ok(())
}
