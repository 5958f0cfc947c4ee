//! Chatbot Arena and MT-bench's human judgements: `conversation_a`, `conversation_b`, `winner`
//! (`model_a`, `model_b`, or a tie, which is dropped and counted). In conversations of several
//! turns each model saw its own earlier answers; there is no common prompt then, and they are
//! dropped, too.

use super::answered::Answer;
use super::collector::Collector;
use super::format::Format;
use super::prompt;
use super::row::{Kind, Row, Source};
use crate::{Ask, Result};

pub(super) const SOURCE: Source = Source {
    format: Format::Arena,
    name: "arena",
    fields: "conversation_a, conversation_b, winner (model_a, model_b or tie)",
    descriptive: &[
        "question_id",
        "model_a",
        "model_b",
        "judge",
        "turn",
        "anony",
        "language",
        "tstamp",
    ],
    refused: &[],
    kind: Kind::Preferences,
    fits: |row| {
        let fields = ["conversation_a", "conversation_b", "winner"];
        fields.iter().all(|name| row.contains_key(*name))
    },
    read,
};

fn read(row: &Row, collector: &mut Collector) -> Result<()> {
    let a = Answer::read(row, "conversation_a")?;
    let b = Answer::read(row, "conversation_b")?;
    let winner = row.text("winner")?;
    let (chosen, rejected) = match winner {
        "model_a" | "a" => (&a, &b),
        "model_b" | "b" => (&b, &a),
        tie if tie.starts_with("tie") || tie == "both_bad" => {
            collector.drop_row("tie");
            return Ok(());
        }
        other => {
            return Err(row.error(format!(
                "field \"winner\" is {other:?}, not \"model_a\", \"model_b\" or \"tie\""
            )));
        }
    };
    if a.before != b.before {
        collector.drop_row("conversations that differ before their last answers");
        return Ok(());
    }
    let (chosen, rejected) = (chosen.text.clone(), rejected.text.clone());
    let messages = prompt::with_context(row, a.before)?;
    if collector.takes(
        &messages,
        "conversation without a user turn before its answer",
    ) {
        collector.preference(Ask::Chat(messages), &chosen, &rejected);
    }
    Ok(())
}
