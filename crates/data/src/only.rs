//! `data.only`: takes the rows whose instruction matches a regular expression.

use crate::{Ask, Error};
use regex::Regex;
use serde::{Deserialize, Serialize};

/// A valid regular expression. It matches anywhere in the text; `(?i)` at its start ignores case.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Only(Regex);

impl TryFrom<String> for Only {
    type Error = String;

    fn try_from(pattern: String) -> std::result::Result<Self, String> {
        Regex::new(&pattern).map(Self).map_err(|error| {
            // regex points at the place over several lines; the last one names the mistake.
            let text = error.to_string();
            let what = text.lines().last().unwrap_or_default();
            let what = what.trim_start_matches("error: ");
            format!("{pattern:?} is not a regular expression: {what}")
        })
    }
}

impl From<Only> for String {
    fn from(only: Only) -> Self {
        only.0.as_str().to_string()
    }
}

impl Only {
    /// Whether a row is taken. Alpaca's input is not searched, since it may quote anything; chats
    /// and raw text are searched in full.
    pub fn takes(&self, ask: &Ask) -> bool {
        match ask {
            Ask::Instruction { instruction, .. } => self.0.is_match(instruction),
            Ask::Chat(_) | Ask::Raw(_) => self.0.is_match(&ask.text()),
        }
    }

    /// The error where it took none of `n` rows.
    pub(crate) fn takes_none(&self, shown: &dyn std::fmt::Display, n: usize) -> Error {
        let pattern = self.0.as_str();
        Error(format!(
            "{shown}: data.only = {pattern:?} matches none of its {n} instructions"
        ))
    }
}

impl PartialEq for Only {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}
