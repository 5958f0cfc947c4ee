//! The prompts of a file row by row, with what tells the rows apart.

use super::collector::Want;
use super::{ReadOptions, read};
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

/// Reads the prompt of every row of any format, in the order of the file, repeated ones too. Says
/// how many rows were read and dropped.
///
/// # Errors
/// As [`demonstrations`](crate::demonstrations).
pub fn prompts_by_row(path: &Path, options: impl Into<ReadOptions>) -> Result<Vec<RowPrompt>> {
    let mut file = read(path, &options.into(), Want::Prompts)?;
    let prompts = std::mem::take(&mut file.collector.prompts);
    // A row of several answers has its prompt several times.
    let rows = std::mem::take(&mut file.prompt_rows).into_iter();
    let rows = rows.map(|row| RowPrompt {
        number: row.number,
        id: row.id,
        prompt: prompts[row.first].clone(),
    });
    let loaded = file.finish(path, rows.collect())?;
    loaded.report(path);
    Ok(loaded.items)
}
