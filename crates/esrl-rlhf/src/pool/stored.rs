//! A round as JSON lines: a header, then one response per line. Its checksum, `pool-<step>.sha256`
//! beside it, is in the format of `sha256sum -c`.

use super::round::{Origin, Round};
use crate::data::Task;
use crate::row::Row;
use crate::step_rows::SamplingCost;
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

/// Reads a round. An error where it does not have its checksum; rounds of older versions have none.
pub(super) fn read(file: &Path) -> Result<String> {
    let of = |file: &Path| {
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
    };
    let (text, sum) = (of(file)?, file.with_extension("sha256"));
    ensure!(
        !sum.exists() || of(&sum)?.split(' ').next() == Some(&run::hash(text.as_bytes())),
        "{} does not have the checksum in {}; restore the file that the run wrote, or start a new run",
        file.display(),
        sum.display()
    );
    Ok(text)
}

/// First line of a stored round.
#[derive(Serialize, Deserialize)]
struct Header {
    step: u64,
    rows: usize,
    cost: SamplingCost,
    /// Mean score of each source of reward; f32, which JSON carries exactly
    means: BTreeMap<String, f32>,
    /// State of the rewards after the round was scored
    rewards: serde_json::Value,
}

/// One response of a stored round.
#[derive(Serialize, Deserialize)]
struct StoredResponse {
    prompt_key: u64,
    ids: Vec<u32>,
    finished: bool,
    drawn: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    score: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prompt_value: Option<f32>,
}

impl Origin {
    /// A stored round, and the state of the rewards after it.
    pub fn parse(&self, text: &str) -> Result<(Round, serde_json::Value)> {
        let tasks: BTreeMap<u64, &Rc<Task>> = self
            .tasks
            .iter()
            .chain(self.answers.iter().map(|(task, _)| task))
            .map(|task| (task.key, task))
            .collect();
        let mut lines = text.lines();
        let header: Header = serde_json::from_str(lines.next().context("it is empty")?)?;
        let (mut rows, mut columns) = (Vec::new(), algorithms::PoolColumns::default());
        for line in lines {
            let stored: StoredResponse = serde_json::from_str(line)?;
            let task = tasks.get(&stored.prompt_key);
            let task = task.with_context(|| format!("prompt {} is unknown", stored.prompt_key))?;
            let row = Row::new(task, &stored.ids, stored.finished, None);
            columns.prompt_key.push(stored.prompt_key);
            columns.lens.push(stored.ids.len());
            columns.response_key.push(row.response_key());
            columns.sampled.push(stored.drawn);
            columns.score.extend(stored.score);
            columns.prompt_value.extend(stored.prompt_value);
            rows.push(row);
        }
        ensure!(
            rows.len() == header.rows,
            "it has {} rows, not {}",
            rows.len(),
            header.rows
        );
        for (name, column) in [
            ("score", &columns.score),
            ("prompt_value", &columns.prompt_value),
        ] {
            ensure!(
                column.is_empty() || column.len() == rows.len(),
                "some of its rows have no {name}"
            );
        }
        let round = Round {
            start: header.step,
            rows,
            columns,
            cost: header.cost,
            means: header.means,
        };
        Ok((round, header.rewards))
    }
}

impl Round {
    /// `rewards`: their state after the round was scored.
    pub fn to_jsonl(&self, rewards: serde_json::Value) -> Result<String> {
        let header = Header {
            step: self.start,
            rows: self.rows.len(),
            cost: self.cost,
            means: self.means.clone(),
            rewards,
        };
        let mut lines = vec![serde_json::to_string(&header)?];
        for (i, row) in self.rows.iter().enumerate() {
            lines.push(serde_json::to_string(&StoredResponse {
                prompt_key: row.task.key,
                ids: row.response().to_vec(),
                finished: row.finished,
                drawn: self.columns.sampled[i],
                score: self.columns.score.get(i).copied(),
                prompt_value: self.columns.prompt_value.get(i).copied(),
            })?);
        }
        Ok(lines.join("\n") + "\n")
    }
}
