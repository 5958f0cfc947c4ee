//! What is asked: FastChat's questions, the prompts of any training data, or prompts of the command
//! line.

use crate::fastchat::{self, Question, QuestionId};
use crate::oracle;
use anyhow::{Context, Result, ensure};
use data::{Ask, Message, Origin, ReadOptions, RowPrompt};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// One question, with its further turns.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Asked {
    pub id: QuestionId,
    /// FastChat's, which decides the temperature; empty for others
    pub category: String,
    pub first: Ask,
    /// The user's turns after the first answer
    pub further: Vec<String>,
    /// Its file and row, for errors
    pub origin: Origin,
}

impl From<Question> for Asked {
    fn from(question: Question) -> Self {
        let mut turns = question.turns.into_iter();
        Self {
            id: question.id,
            category: question.category,
            first: Ask::instruction(&turns.next().unwrap_or_default()),
            further: turns.collect(),
            origin: Origin::default(),
        }
    }
}

impl Asked {
    pub fn n_turns(&self) -> usize {
        1 + self.further.len()
    }

    /// The next turn, with the turns and answers before it, as the template expects them.
    pub fn after(&self, answers: &[&str]) -> Ask {
        if answers.is_empty() {
            return self.first.clone();
        }
        let mut messages = match &self.first {
            Ask::Chat(messages) => messages.clone(),
            other => vec![Message::new("user", &other.text())],
        };
        for (answer, user) in answers.iter().zip(&self.further) {
            messages.push(Message::new("assistant", answer));
            messages.push(Message::new("user", user));
        }
        Ask::Chat(messages)
    }

    /// The tiny world's grade of the answer; `None` for a question of several turns, or of others.
    pub fn grade(&self, turns: &[String]) -> Option<f64> {
        match (turns, self.further.is_empty()) {
            ([answer], true) => oracle::grade(&self.first, answer),
            _ => None,
        }
    }
}

/// The texts of `--prompt`, numbered from 1.
pub(super) fn from_command_line(prompts: &[String]) -> Result<Vec<Asked>> {
    let asked = prompts.iter().enumerate().map(|(i, text)| {
        ensure!(!text.trim().is_empty(), "--prompt is empty; give it a text");
        Ok(Asked {
            id: QuestionId::Number(i as u64 + 1),
            category: String::new(),
            first: Ask::instruction(text),
            further: Vec::new(),
            origin: Origin::default(),
        })
    });
    asked.collect()
}

/// The questions of a FastChat file, or the prompts of a data file, in its order. Those have the
/// ids of their rows (`question_id` or `id`) if every row has its own, else the rows' numbers.
pub(super) fn from_file(path: &Path, options: ReadOptions) -> Result<Vec<Asked>> {
    // FastChat's fields have their own names
    if options.columns.is_empty() && is_fastchat(path)? {
        let questions = fastchat::questions(path)?;
        return Ok(questions.into_iter().map(Asked::from).collect());
    }
    let rows = data::prompts_by_row(path, options).context(
        "answers needs FastChat questions, or prompts as for training (Alpaca, conversations, prompt)",
    )?;
    let ids = ids(path, &rows);
    let asked = rows.into_iter().zip(ids).map(|(row, id)| Asked {
        id,
        category: String::new(),
        first: row.prompt.ask,
        further: Vec::new(),
        origin: row.prompt.origin,
    });
    Ok(asked.collect())
}

/// The rows' own ids if all have one and no two are the same, else their numbers.
fn ids(path: &Path, rows: &[RowPrompt]) -> Vec<QuestionId> {
    let own = |row: &RowPrompt| serde_json::from_value(row.id.clone()?).ok();
    let ids: Option<Vec<QuestionId>> = rows.iter().map(own).collect();
    let numbers = || {
        let numbers = rows.iter().map(|row| QuestionId::Number(row.number as u64));
        numbers.collect()
    };
    match ids {
        Some(ids) if ids.iter().collect::<BTreeSet<_>>().len() == ids.len() => ids,
        Some(_) => {
            run::say!(
                "{}: ids are repeated; question_id is the number of the row",
                path.display()
            );
            numbers()
        }
        None => numbers(),
    }
}

/// Whether the file is JSON lines and its first row has a `question_id`.
fn is_fastchat(path: &Path) -> Result<bool> {
    /// A longer first line is no question.
    const MAX_LINE_BYTES: u64 = 1 << 20;
    if path.is_dir() {
        return Ok(false); // the reader of data says what is wrong
    }
    let failed = || format!("cannot read {}", path.display());
    let file = std::fs::File::open(path).with_context(failed)?;
    let mut lines = BufReader::new(std::io::Read::take(file, MAX_LINE_BYTES)).lines();
    let first = lines.find(|line| line.as_ref().map_or(true, |line| !line.trim().is_empty()));
    let Some(Ok(first)) = first else {
        return Ok(false);
    };
    let row = serde_json::from_str::<serde_json::Value>(first.trim_start_matches('\u{feff}'));
    Ok(row.is_ok_and(|row| row.get("question_id").is_some()))
}
