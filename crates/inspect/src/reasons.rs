//! Reasons with the number of their rows and the first of them.

use serde::Serialize;
use std::collections::BTreeMap;

/// Different reasons that are kept apart. Some quote values, so a file could have any number.
const MAX_REASONS: usize = 50;

/// What the others are called.
const OTHERS: &str = "other reasons";

/// Rows by reason.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reasons(BTreeMap<String, (u64, String)>);

/// A reason in a report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reason {
    pub reason: String,
    /// How often
    pub rows: u64,
    /// `file: row 3`
    pub first: String,
}

impl Reasons {
    /// Counts `n` rows; `first` says where the first of them is.
    pub fn add(&mut self, reason: &str, n: u64, first: impl FnOnce() -> String) {
        if n == 0 {
            return;
        }
        let key = match self.0.len() >= MAX_REASONS && !self.0.contains_key(reason) {
            true => OTHERS,
            false => reason,
        };
        match self.0.get_mut(key) {
            Some((count, _)) => *count += n,
            None => {
                self.0.insert(key.to_string(), (n, first()));
            }
        }
    }

    /// The most frequent first.
    pub fn list(&self) -> Vec<Reason> {
        let reasons = self.0.iter().map(|(reason, (rows, first))| Reason {
            reason: reason.clone(),
            rows: *rows,
            first: first.clone(),
        });
        let mut list: Vec<Reason> = reasons.collect();
        list.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.reason.cmp(&b.reason)));
        list
    }
}
