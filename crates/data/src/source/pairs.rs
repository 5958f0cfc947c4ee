//! `prompt`, `chosen`, `rejected`. The prompt is a string or a list of messages; an answer is a
//! string, a message, or a list of messages that ends with an assistant turn (TRL's conversational
//! form). The turns before that one belong to the prompt, must be the same in both lists, and may
//! stand in place of `prompt`.
//!
//! The answers are also `chosen_response` and `rejected_response`, `response_chosen` and
//! `response_rejected`, `accepted` and `rejected`. Other names of the prompt are read,
//! LLaMA-Factory's among them: `instruction` with `input`, `question`, `query`, or a list of turns
//! (`conversations`, `messages`).
//!
//! `score_chosen` and `score_rejected` (or `chosen_score`, `chosen-rating`, …) must agree with the
//! order.

use super::answered::{Answer, PROMPTS, ask};
use super::collector::Collector;
use super::format::Format;
use super::row::{Kind, Row, Source};
use super::transcript::HUMAN;
use super::turns;
use super::unused::words;
use crate::record::declared;
use crate::{Ask, Message, Result};
use row_files::Object;
use serde_json::Value;

pub(super) const SOURCE: Source = Source {
    format: Format::Pairs,
    name: "pairs",
    fields: "prompt (a string or messages), chosen, rejected",
    descriptive: &["prompt_id"],
    refused: &[],
    kind: Kind::Preferences,
    fits: |row| {
        let Some(names) = answers(row) else {
            return false;
        };
        let of_turns = |field: &str| {
            row.get(field).is_some_and(|value| {
                value.is_object() || value.is_array() || turns::is_turns(value)
            })
        };
        let has_prompt = PROMPTS.iter().any(|name| row.contains_key(*name));
        has_prompt || turns::list_of(row).is_some() || names.into_iter().any(of_turns)
    },
    read,
};

/// Names of the better and the worse answer, the usual first.
const ANSWERS: [[&str; 2]; 4] = [
    ["chosen", "rejected"],
    ["chosen_response", "rejected_response"],
    ["response_chosen", "response_rejected"],
    ["accepted", "rejected"],
];

/// The names of a row's two answers. Under the usual names they may be of any type, and a wrong one
/// is an error; other fields of such names, as numbers, are something else.
pub(super) fn answers(row: &Object) -> Option<[&'static str; 2]> {
    let is_answer = |value: &Value| value.is_string() || value.is_array() || value.is_object();
    ANSWERS.into_iter().enumerate().find_map(|(i, names)| {
        let are = names.iter().all(|name| {
            let value = row.get(*name);
            value.is_some_and(|value| i == 0 || is_answer(value))
        });
        are.then_some(names)
    })
}

/// Words in the names of scores of an answer: the higher, the better.
const SCORES: [&str; 6] = ["score", "scores", "rating", "ratings", "reward", "rewards"];

fn read(row: &Row, collector: &mut Collector) -> Result<()> {
    let [better, worse] = answers(row.object()).unwrap_or(ANSWERS[0]);
    let chosen = Answer::read(row, better)?;
    let rejected = Answer::read(row, worse)?;
    let equal_scores = check_scores(row, better)?;
    let whole = |answer: &Answer| answer.text.starts_with(HUMAN);
    if PROMPTS.iter().any(|name| row.says(name)) && whole(&chosen) && whole(&rejected) {
        return Err(row.error(format!(
            "\"{better}\" and \"{worse}\" are whole transcripts, with the prompt in them; remove \
             the field \"prompt\", or set data.format = \"hh\""
        )));
    }
    if chosen.before != rejected.before {
        return Err(row.error(format!(
            "the turns before the answers of \"{better}\" and \"{worse}\" differ; a pair has one \
             prompt"
        )));
    }
    let is_whole = !chosen.before.is_empty();
    let ask = ask(row, chosen.before, &format!("\"{better}\" and \"{worse}\""))?;
    repeated(row, &ask, &chosen.text, is_whole)?;
    if let Ask::Chat(messages) = &ask
        && !collector.takes(messages, "prompt that does not end with a user turn")
    {
        return Ok(());
    }
    if equal_scores {
        collector.drop_row("pair with equal scores");
        return Ok(());
    }
    collector.preference(ask, &chosen.text, &rejected.text);
    Ok(())
}

/// UltraFeedback's `messages` repeat the better conversation; they say nothing more. `is_whole`:
/// so do the answers, and then another conversation is an error.
fn repeated(row: &Row, ask: &Ask, chosen: &str, is_whole: bool) -> Result<()> {
    const FIELD: &str = "messages";
    let has_prompt = is_whole || PROMPTS.iter().any(|name| row.says(name));
    if !has_prompt || !row.says(FIELD) {
        return Ok(()); // it is the prompt, or nothing
    }
    let mut whole = match ask {
        Ask::Chat(messages) => declared(messages).1.to_vec(),
        other => vec![Message::new("user", &other.text())],
    };
    whole.push(Message::new("assistant", chosen));
    let after_system = usize::from(whole[0].role == "system");
    let known = [&whole[..], &whole[after_system..]];
    let repeats = |turns: &&[Message]| row.peek(FIELD).is_some_and(|v| turns::are(v, turns));
    if known.iter().any(repeats) {
        row.mark_read(FIELD);
    } else if is_whole && !known.contains(&&turns::read(row, FIELD)?[..]) {
        return Err(row.error(
            "field \"messages\" is not the conversation of \"chosen\"; remove it if it is another",
        ));
    }
    Ok(())
}

/// Whether the row's scores are equal; an error if the rejected answer has the higher one.
fn check_scores(row: &Row, better: &str) -> Result<bool> {
    let stem = match better {
        "accepted" => "accepted",
        _ => "chosen",
    };
    let mut equal = false;
    let scores = |name: &&str| {
        words(name)
            .iter()
            .any(|word| SCORES.contains(&word.as_str()))
    };
    let names = row.names().filter(|name| name.contains(stem));
    for better in names.filter(scores) {
        let worse = &better.replace(stem, "rejected");
        if !row.says(better) || !row.says(worse) {
            continue;
        }
        let (one, other) = (row.number(better)?, row.number(worse)?);
        if one < other {
            return Err(row.error(format!(
                "\"{better}\" is {one}, less than \"{worse}\", {other}; swap the answers"
            )));
        }
        equal |= one == other;
    }
    Ok(equal)
}
