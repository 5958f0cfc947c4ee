//! The prompts of a path row by row, with what tells the rows apart.

use super::ReadOptions;
use super::collector::Want;
use super::read::read_rows;
use crate::{Prompt, Result};
use serde_json::Value;
use std::path::Path;

/// The prompt of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct RowPrompt {
    /// Of the row in its file, from 1; of JSON lines, of the line.
    pub number: usize,
    /// The row's `question_id` or `id`, if it has one.
    pub id: Option<Value>,
    /// The prompt.
    pub prompt: Prompt,
}

/// Reads the prompt of every row of any format, in the order of the files, repeated ones too. Says
/// how many rows were read and dropped.
///
/// # Errors
/// As [`for_each`](crate::for_each).
pub fn prompts_by_row(path: &Path, options: impl Into<ReadOptions>) -> Result<Vec<RowPrompt>> {
    let mut rows = Vec::new();
    let mut counts = read_rows(path, &options.into(), Want::Prompts, &mut |row| {
        let id = row
            .object
            .get("question_id")
            .or_else(|| row.object.get("id"));
        // A row of several answers has its prompt several times.
        let prompts = std::mem::take(&mut row.collector.prompts);
        rows.extend(prompts.into_iter().take(1).map(|prompt| RowPrompt {
            number: row.number,
            id: id.cloned(),
            prompt,
        }));
        Ok(())
    })?;
    counts.n_used = rows.len();
    counts.require(&path.display(), None)?;
    counts.report(path);
    Ok(rows)
}
