//! The records of a file's rows. Rules for every format (no empty answers, no equal pairs) are
//! here.

use crate::{Ask, Demonstration, Preference, Prompt};
use std::collections::BTreeMap;

/// The records the caller asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    Demonstrations,
    Preferences,
    Prompts,
}

/// Collects the records of all rows, and counts the rows it drops.
pub(super) struct Collector {
    pub want: Want,
    pub demonstrations: Vec<Demonstration>,
    pub preferences: Vec<Preference>,
    pub prompts: Vec<Prompt>,
    pub dropped: BTreeMap<String, usize>,
}

impl Collector {
    pub fn new(want: Want) -> Self {
        Self {
            want,
            demonstrations: Vec::new(),
            preferences: Vec::new(),
            prompts: Vec::new(),
            dropped: BTreeMap::new(),
        }
    }

    /// Counts a row that is not used.
    pub fn drop_row(&mut self, reason: &str) {
        *self.dropped.entry(reason.to_string()).or_default() += 1;
    }

    /// Adds a prompt without an answer.
    pub fn prompt(&mut self, prompt: Prompt) {
        match prompt.ask.text().trim() {
            "" => self.drop_row("empty prompt"),
            _ => self.prompts.push(prompt),
        }
    }

    /// Adds a prompt with its response, which is also the prompt's reference.
    pub fn demonstration(&mut self, ask: Ask, response: &str) {
        let prompt = Prompt {
            ask,
            reference: Some(response.to_string()),
        };
        if self.want == Want::Prompts {
            self.prompt(prompt);
        } else if response.trim().is_empty() {
            self.drop_row("empty answer");
        } else {
            self.demonstrations.push(Demonstration {
                prompt,
                response: response.to_string(),
            });
        }
    }

    /// Adds a prompt with a better and a worse answer.
    pub fn preference(&mut self, ask: Ask, chosen: &str, rejected: &str) {
        let prompt = Prompt {
            ask,
            reference: None,
        };
        if self.want == Want::Prompts {
            self.prompt(prompt);
        } else if chosen.trim().is_empty() || rejected.trim().is_empty() {
            self.drop_row("empty answer");
        } else if chosen.trim() == rejected.trim() {
            self.drop_row("both answers equal");
        } else {
            let (chosen, rejected) = (chosen.to_string(), rejected.to_string());
            self.preferences.push(Preference {
                prompt,
                chosen,
                rejected,
            });
        }
    }
}
