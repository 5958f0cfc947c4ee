//! Which response tokens begin a clause (`macro_start`, for MA-PPO's parsing termination): by the built-in splitter, by a file of
//! texts parsed beforehand, or by a program that is asked.

use crate::learner::Metrics;
use crate::row::Row;
use anyhow::{Context, Result, ensure};
use data::Encoder;
use rewards::external::{Program, RetryPolicy};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

const DAY: f64 = 86_400.0;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClausesConfig {
    /// `splitter`: punctuation and conjunctions; `file`; `program`
    pub source: Source,
    /// With `file`: JSON lines `{"text": …, "starts": [character offsets]}`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// With `program`: the program and its arguments. Asked `{"id", "texts"}`, it answers `{"id", "starts": [[…], …]}`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Seconds it may take for one answer
    pub timeout_secs: f64,
    /// Attempts after the first
    pub retries: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Splitter,
    File,
    Program,
}

impl Default for ClausesConfig {
    fn default() -> Self {
        Self {
            source: Source::Splitter,
            path: None,
            command: None,
            timeout_secs: 60.0,
            retries: 2,
        }
    }
}

impl ClausesConfig {
    /// Refuses settings that cannot work.
    pub fn check(&self) -> Result<()> {
        let has = |what: bool, key: &str, source: &str| {
            ensure!(
                what,
                "rollout.clauses.{key} is missing; source = \"{source}\" needs it"
            );
            Ok(())
        };
        match self.source {
            Source::Splitter => Ok(()),
            Source::File => has(self.path.is_some(), "path", "file"),
            Source::Program => {
                let named = self.command.as_ref().is_some_and(|words| !words.is_empty());
                has(named, "command", "program")
            }
        }?;
        ensure!(
            self.timeout_secs > 0.0 && self.timeout_secs <= DAY,
            "rollout.clauses.timeout_secs = {} must be a number above 0, at most {DAY}",
            self.timeout_secs
        );
        Ok(())
    }
}

pub(crate) enum Clauses {
    Splitter,
    /// Starts by text; a text that is not in the file is split
    File(HashMap<String, Vec<usize>>),
    Program(Box<Program>),
}

/// A line of the file.
#[derive(Deserialize)]
struct Parsed {
    text: String,
    starts: Vec<usize>,
}

impl Clauses {
    pub fn open(config: &ClausesConfig) -> Result<Self> {
        match config.source {
            Source::Splitter => Ok(Self::Splitter),
            Source::File => {
                let path = config.path.clone().unwrap_or_default();
                let text = std::fs::read_to_string(&path);
                let text = text.with_context(|| format!("cannot read {}", path.display()))?;
                let mut by_text = HashMap::new();
                for (at, line) in text
                    .lines()
                    .enumerate()
                    .filter(|(_, l)| !l.trim().is_empty())
                {
                    let parsed: Parsed = serde_json::from_str(line)
                        .with_context(|| format!("{}, line {}", path.display(), at + 1))?;
                    by_text.insert(parsed.text, parsed.starts);
                }
                Ok(Self::File(by_text))
            }
            Source::Program => {
                let patience = RetryPolicy {
                    timeout: Duration::from_secs_f64(config.timeout_secs),
                    retries: config.retries,
                };
                let command = config.command.clone().unwrap_or_default();
                Ok(Self::Program(Box::new(Program::start(&command, patience)?)))
            }
        }
    }

    /// Which response tokens of all rows begin a clause, and metrics.
    pub fn macro_starts(
        &mut self,
        encoder: &Encoder,
        rows: &[Row],
    ) -> Result<(Vec<bool>, Metrics)> {
        let mut metrics = Metrics::new();
        let texts = rows.iter().map(|row| encoder.decode(row.response()));
        let texts = texts.collect::<data::Result<Vec<String>>>()?;
        let starts: Vec<Vec<usize>> = match self {
            Self::Splitter => texts.iter().map(|text| data::clause_starts(text)).collect(),
            Self::File(known) => {
                let missing = texts.iter().filter(|text| !known.contains_key(*text));
                let share = missing.count() as f64 / texts.len().max(1) as f64;
                metrics.insert("rollout/clauses_missing".into(), share);
                let of = |text: &String| match known.get(text) {
                    Some(starts) => in_bytes(text, starts),
                    None => data::clause_starts(text),
                };
                texts.iter().map(of).collect()
            }
            Self::Program(program) => ask(program, &texts)?,
        };
        let mut flags = Vec::new();
        for ((row, text), starts) in rows.iter().zip(&texts).zip(&starts) {
            let offsets = encoder.offsets(row.response(), text)?;
            flags.extend(data::clause_tokens(&offsets, starts));
        }
        Ok((flags, metrics))
    }
}

/// Starts of each text, in bytes.
fn ask(program: &mut Program, texts: &[String]) -> Result<Vec<Vec<usize>>> {
    let request = Map::from_iter([("texts".to_string(), Value::from(texts.to_vec()))]);
    let read = |reply: &Map<String, Value>| -> Result<Vec<Vec<usize>>, String> {
        let starts = reply.get("starts").ok_or("its answer has no starts")?;
        let starts: Vec<Vec<usize>> = serde_json::from_value(starts.clone())
            .map_err(|e| format!("its starts are not lists of offsets: {e}"))?;
        if starts.len() != texts.len() {
            return Err(format!(
                "it answered {} of {} texts",
                starts.len(),
                texts.len()
            ));
        }
        let pairs = texts.iter().zip(&starts);
        Ok(pairs.map(|(text, starts)| in_bytes(text, starts)).collect())
    };
    Ok(program.call(&request, read)?)
}

/// Character offsets as byte offsets; those beyond the text are left out.
fn in_bytes(text: &str, chars: &[usize]) -> Vec<usize> {
    let at: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    chars.iter().filter_map(|c| at.get(*c).copied()).collect()
}
