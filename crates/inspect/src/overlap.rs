//! Prompts that another file has, too.

use data::{Prompt, ReadOptions, Result, RowView};
use serde::Serialize;
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::Path;

/// Shared prompts that are shown.
const SHOWN: usize = 3;

pub(crate) struct Overlap {
    path: String,
    others: HashSet<u64>,
    shared: HashSet<u64>,
    first: Vec<String>,
}

/// An overlap in a report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OverlapFacts {
    /// The other path
    pub with: String,
    /// Its different prompts
    pub prompts: u64,
    /// How many of them are here, too
    pub shared: u64,
    /// The first of them: where, and its beginning
    pub first: Vec<String>,
}

impl Overlap {
    /// Reads the prompts of the other path. A file there that cannot be read is an error.
    pub fn new(path: &Path, options: &ReadOptions) -> Result<Self> {
        let mut others = HashSet::new();
        let read = data::each_row(path, options, &mut |row| {
            others.extend(prompt_of(&row).map(Prompt::key));
            Ok(ControlFlow::Continue(()))
        })?;
        if let Some(error) = read.files.into_iter().find_map(|file| file.error) {
            return Err(data::Error(error));
        }
        Ok(Self {
            path: path.display().to_string(),
            others,
            shared: HashSet::new(),
            first: Vec::new(),
        })
    }

    pub fn add(&mut self, prompt: &Prompt, key: u64) {
        if self.others.contains(&key) && self.shared.insert(key) && self.first.len() < SHOWN {
            let text = prompt.ask.text();
            let begin: String = text.trim().chars().take(50).collect();
            self.first.push(format!("{}: {begin:?}", prompt.origin));
        }
    }

    pub fn facts(&self) -> OverlapFacts {
        OverlapFacts {
            with: self.path.clone(),
            prompts: self.others.len() as u64,
            shared: self.shared.len() as u64,
            first: self.first.clone(),
        }
    }
}

/// The prompt of a row, in whatever record.
pub(crate) fn prompt_of<'a>(row: &'a RowView) -> Option<&'a Prompt> {
    let demonstration = row.demonstrations.records.first().map(|d| &d.prompt);
    let preference = row.preferences.records.first().map(|p| &p.prompt);
    let prompt = row.prompts.records.first();
    preference.or(demonstration).or(prompt)
}
