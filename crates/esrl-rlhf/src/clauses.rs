//! Which response tokens begin a clause (`macro_start`, for MA-PPO's parsing termination): by the
//! built-in splitter, a file of parsed texts, or an external program.

use crate::config::{ClauseSource, ClausesConfig};
use crate::row::Row;
use algorithms::Metrics;
use anyhow::{Context, Result, ensure};
use data::Encoder;
use rewards::external::{Program, RetryPolicy};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::time::Duration;

/// An open finder of clauses.
pub(crate) enum Clauses {
    Splitter,
    /// Starts by text; a text that the file does not have goes to the splitter
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
    /// Reads the file or starts the program.
    pub fn open(config: &ClausesConfig) -> Result<Self> {
        match config.source {
            ClauseSource::Splitter => Ok(Self::Splitter),
            ClauseSource::File => {
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
                    let starts = by_text.entry(parsed.text).or_insert(parsed.starts.clone());
                    ensure!(
                        *starts == parsed.starts,
                        "{}, line {}: an earlier line splits the same text in another way",
                        path.display(),
                        at + 1
                    );
                }
                Ok(Self::File(by_text))
            }
            ClauseSource::Program => {
                let retry = RetryPolicy {
                    timeout: Duration::from_secs_f64(config.timeout_secs),
                    retries: config.retries,
                };
                let command = config.command.clone().unwrap_or_default();
                Ok(Self::Program(Box::new(Program::start(&command, retry)?)))
            }
        }
    }

    /// `[M]` whether each response token of the rows begins a clause, and metrics.
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

/// Byte offsets of each text's clauses, from the program.
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

/// Character offsets as byte offsets. Those beyond the text are left out.
fn in_bytes(text: &str, chars: &[usize]) -> Vec<usize> {
    let at: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    chars.iter().filter_map(|c| at.get(*c).copied()).collect()
}
