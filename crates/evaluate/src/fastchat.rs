//! FastChat's question and answer files (lm-sys/FastChat, `fastchat/llm_judge`): one JSON object
//! per line.
//!
//! A question has `question_id`, `category`, either `text` (the Vicuna-80 file) or `turns` (a list,
//! as in MT-bench), and it may have a `reference` answer to each turn.

use crate::jsonl;
use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const EXPECTED: &str = "expected a FastChat question file, whose rows have question_id, and text \
                        or turns (a list of texts)";

/// The id of a question: a number (FastChat's own files) or a text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum QuestionId {
    Number(u64),
    Text(String),
}

impl std::fmt::Display for QuestionId {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Self::Number(n) => n.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub id: QuestionId,
    pub category: String,
    /// The user's messages; one for Vicuna's questions.
    pub turns: Vec<String>,
    /// The reference answers to the first turns; an empty text where there is none. The judge is
    /// shown them.
    pub reference: Vec<String>,
}

/// One line of an answer file, with exactly FastChat's fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub question_id: QuestionId,
    pub answer_id: String,
    pub model_id: String,
    pub choices: Vec<Choice>,
    /// Unix time, seconds.
    pub tstamp: f64,
}

/// One of the answers to a question; we write one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    pub index: usize,
    pub turns: Vec<String>,
}

impl Answer {
    /// The turns of the first choice.
    pub fn turns(&self) -> &[String] {
        self.choices.first().map_or(&[], |c| &c.turns)
    }
}

/// The questions of a file, in its order.
///
/// # Errors
/// If there is none, a row is not a question, or an id appears twice.
///
/// ```
/// let file = tempfile::NamedTempFile::new()?;
/// let row = r#"{"question_id": 1, "category": "math", "text": "What is 8 plus 4?"}"#;
/// std::fs::write(&file, row)?;
/// let questions = evaluate::fastchat::questions(file.path())?;
/// assert_eq!(questions[0].turns, ["What is 8 plus 4?"]);
/// # Ok::<(), anyhow::Error>(())
/// ```
pub fn questions(path: &Path) -> Result<Vec<Question>> {
    let rows: Vec<Value> = jsonl::read(path)?;
    if rows.is_empty() {
        bail!("{} has no questions", path.display());
    }
    let mut seen = BTreeSet::new();
    let mut questions = Vec::with_capacity(rows.len());
    let mut unused: BTreeMap<&str, usize> = BTreeMap::new();
    for (i, row) in rows.iter().enumerate() {
        let question = match question(row) {
            Ok(question) => question,
            Err(what) => bail!("{} row {}: {what}", path.display(), i + 1),
        };
        if !seen.insert(question.id.clone()) {
            bail!(
                "{} row {}: question_id {} appears twice",
                path.display(),
                i + 1,
                question.id
            );
        }
        questions.push(question);
        let text = row.get("turns").map_or("text", |_| "turns");
        let known = ["question_id", "category", "reference", text];
        for field in data::unused_fields(row.as_object().expect("a question"), &known) {
            *unused.entry(field).or_default() += 1;
        }
    }
    if !unused.is_empty() {
        let counts = unused.iter().map(|(name, n)| format!("{name:?} ({n})"));
        let counts = counts.collect::<Vec<_>>().join(", ");
        run::say!(
            "{}: fields that are not used (questions): {counts}",
            path.display()
        );
    }
    Ok(questions)
}

fn question(row: &Value) -> std::result::Result<Question, String> {
    let id = match row.get("question_id") {
        None => {
            return Err(format!("no field question_id; {EXPECTED}"));
        }
        Some(id) => serde_json::from_value(id.clone())
            .map_err(|_| "question_id must be a whole number or a text".to_string())?,
    };
    let text = |value: &Value, field: &str| match value.as_str() {
        Some(text) if !text.trim().is_empty() => Ok(text.to_string()),
        Some(_) => Err(format!("{field} is empty")),
        None => Err(format!("{field} must be a text")),
    };
    let turns = match (row.get("turns"), row.get("text")) {
        (Some(Value::Array(turns)), _) if !turns.is_empty() => {
            let turns = turns.iter().map(|turn| text(turn, "turns"));
            turns.collect::<std::result::Result<_, _>>()?
        }
        (Some(_), _) => return Err("turns must be a non-empty list of texts".into()),
        (None, Some(one)) => vec![text(one, "text")?],
        (None, None) => {
            return Err(format!("no field text or turns; {EXPECTED}"));
        }
    };
    let category = match row.get("category") {
        None => String::new(),
        Some(value) => text(value, "category")?,
    };
    let reference = reference(row.get("reference"), turns.len())?;
    Ok(Question {
        id,
        category,
        turns,
        reference,
    })
}

/// A text, or a list with a text for each of the first turns.
fn reference(value: Option<&Value>, n_turns: usize) -> std::result::Result<Vec<String>, String> {
    let found = match value {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(texts)) => {
            let texts = texts.iter().map(|text| match text {
                Value::Null => Some(String::new()),
                text => text.as_str().map(str::to_string),
            });
            let texts: Option<Vec<String>> = texts.collect();
            texts.ok_or("reference must be a list of texts, one for each turn")?
        }
        Some(_) => return Err("reference must be a text or a list of texts".into()),
    };
    match found.len() {
        n if n > n_turns => Err(format!(
            "reference has {n} texts, and the question {n_turns} {}",
            if n_turns == 1 { "turn" } else { "turns" }
        )),
        _ => Ok(found),
    }
}

/// The answers of one model, written by `wick answers` or FastChat. Of several answers to one
/// question the last counts, as for FastChat; how many are left out is said.
pub fn answers(path: &Path) -> Result<Vec<Answer>> {
    let shown = path.display();
    if path.try_exists().is_ok_and(|exists| !exists) {
        bail!("{shown} does not exist; `wick answers` writes answer files");
    }
    let answers: Vec<Answer> = jsonl::read_appended(path)?;
    let Some(first) = answers.first() else {
        bail!("{shown} has no answers");
    };
    if let Some(other) = answers.iter().find(|a| a.model_id != first.model_id) {
        bail!(
            "{shown} has answers of two models, {} and {}; give one file per model",
            first.model_id,
            other.model_id
        );
    }
    let n_several = answers.iter().filter(|a| a.choices.len() > 1).count();
    if n_several > 0 {
        run::say!(
            "{shown}: {n_several} of {} lines have several choices; the first is used",
            answers.len()
        );
    }
    Ok(each_once(path, answers))
}

/// The last answer to each question, in the order of the first ones.
pub(crate) fn each_once(path: &Path, answers: Vec<Answer>) -> Vec<Answer> {
    let n_lines = answers.len();
    let mut places = BTreeMap::new();
    let mut kept: Vec<Answer> = Vec::with_capacity(n_lines);
    for answer in answers {
        match places.get(&answer.question_id) {
            Some(at) => kept[*at] = answer,
            None => {
                places.insert(answer.question_id.clone(), kept.len());
                kept.push(answer);
            }
        }
    }
    if kept.len() < n_lines {
        run::say!(
            "{}: {} again; the last answer to each counts",
            path.display(),
            match n_lines - kept.len() {
                1 => "1 line answers a question".to_string(),
                n => format!("{n} lines answer a question"),
            }
        );
    }
    kept
}

/// FastChat's temperature for a category (`temperature_config`, default 0.7).
pub fn category_temperature(category: &str) -> f32 {
    match category {
        "extraction" | "math" | "coding" | "reasoning" => 0.0,
        "stem" | "humanities" => 0.1,
        _ => 0.7,
    }
}
