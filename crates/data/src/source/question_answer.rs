//! One question and its answer under the names that data sets of tasks use: GSM8K's `question` and
//! `answer`, MATH's `problem` and `solution`, MetaMath's `query` and `response`, `input` and
//! `output`, OpenOrca's `question` and `response`. A `context` is the question's input. As prompts,
//! rows need no answer.

use super::answered::{self, Answer};
use super::collector::{Collector, Want};
use super::format::Format;
use super::pairs;
use super::prompt;
use super::remarks::Remark;
use super::row::{Kind, Refused, Row, Source};
use super::unused::{RATINGS, is_empty};
use crate::{Ask, Result};
use serde_json::{Map, Value};

const QUESTIONS: [&str; 5] = ["question", "problem", "query", "input", "prompt"];

const ANSWERS: [&str; 4] = ["answer", "solution", "response", "output"];

pub(super) const SOURCE: Source = Source {
    format: Format::QuestionAnswer,
    name: "question/answer",
    fields: "question (or problem, query, input), answer (or solution, response, output)",
    descriptive: &[],
    refused: &[
        Refused {
            fields: &RATINGS,
            why: "rates the answer, which would be learnt good or bad",
        },
        Refused {
            fields: &["choices", "options"],
            why: "belongs to the question, and there is no place for it here",
        },
    ],
    kind: Kind::Demonstrations,
    fits,
    read,
};

fn fits(row: &Map<String, Value>) -> bool {
    let says = |name: &&str| row.get(*name).is_some_and(|value| !is_empty(value));
    let has = |name: &str| row.contains_key(name);
    let is_pair = pairs::answers(row).is_some();
    if is_pair || ["completion", "chosen", "rejected"].into_iter().any(has) {
        return false;
    }
    let n_questions = QUESTIONS.iter().filter(|name| says(name)).count();
    // a prompt beside other questions is a prompt alone
    let is_question = n_questions == 1 || (n_questions > 1 && !has("prompt"));
    is_question
        && ANSWERS
            .iter()
            .any(|name| row.get(*name).is_some_and(Value::is_string))
}

fn read(row: &Row, collector: &mut Collector) -> Result<()> {
    let question = the_one(row, &QUESTIONS, "the question")?;
    let wants_prompts = collector.want == Want::Prompts;
    if wants_prompts {
        // they say nothing of the question
        RATINGS.into_iter().for_each(|name| row.mark_read(name));
    }
    let ask = match question {
        "prompt" => answered::ask(row, Vec::new(), "the answer")?,
        _ => {
            let context = row.text_or_empty("context")?;
            prompt::ask(row, row.text(question)?, context)?
        }
    };
    if let Ask::Chat(messages) = &ask
        && !collector.takes(messages, "prompt that does not end with a user turn")
    {
        return Ok(());
    }
    let has_answer = ANSWERS.iter().any(|name| row.has(name));
    if wants_prompts && (!has_answer || without_reference(row, &ANSWERS, collector)) {
        collector.prompt(ask, None);
        return Ok(());
    }
    let answer = Answer::read(row, the_one(row, &ANSWERS, "the answer")?)?;
    if !answer.before.is_empty() {
        return Err(row.error("the answer is a list of turns, with other turns before the last"));
    }
    collector.demonstration(ask, &answer.text);
    Ok(())
}

/// Whether several of these fields could be the answer, so that a prompt has no reference. That is
/// counted.
pub(super) fn without_reference(row: &Row, names: &[&str], collector: &mut Collector) -> bool {
    let said = names.iter().filter(|name| row.says(name));
    let said: Vec<&str> = said.copied().collect();
    if said.len() < 2 {
        return false;
    }
    said.iter().for_each(|name| row.mark_read(name));
    let [all, others] = [&said[..], &said[1..]].map(quoted);
    collector.remark(Remark::Answers(all, others), 1);
    true
}

/// `"a", "b"`
fn quoted(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    names.join(", ")
}

/// The only field of these that says something, else the first that is there.
fn the_one(row: &Row, names: &[&'static str], what: &str) -> Result<&'static str> {
    let said: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| row.says(name))
        .collect();
    match said[..] {
        [] => Ok(names.iter().find(|name| row.has(name)).unwrap_or(&names[0])),
        [one] => names
            .iter()
            .find(|name| **name == one)
            .copied()
            .map_or(Ok(names[0]), Ok),
        _ => Err(row.error(format!(
            "fields {} could each be {what}; keep the one that is meant: data.ignore = [{}] leaves \
             {:?}",
            quoted(&said),
            quoted(&said[1..]),
            said[0]
        ))),
    }
}
