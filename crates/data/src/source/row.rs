//! One row under one format: typed access to its fields with errors that name file, row and field, and the tray that
//! takes what the row says. Rules that hold for every format (no empty answers, no equal pairs) live here.

use super::Source;
use super::rows::{Object, kind, row_error};
use crate::{Demonstration, Error, Message, Preference, Prompt, Result};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

pub(crate) struct Row<'a> {
    pub path: &'a Path,
    pub number: usize,
    pub object: &'a Object,
    pub source: &'a Source,
}

impl<'a> Row<'a> {
    /// `file: row 12: {what}; Alpaca rows have …`
    pub fn error(&self, what: impl std::fmt::Display) -> Error {
        let Source { name, fields, .. } = self.source;
        row_error(
            self.path,
            self.number,
            format!("{what}; {name} rows have {fields}"),
        )
    }

    fn wrong(&self, field: &str, value: &Value, wanted: &str) -> Error {
        self.error(format!(
            "field \"{field}\" is {}, not {wanted}",
            kind(value)
        ))
    }

    pub fn has(&self, field: &str) -> bool {
        self.object.contains_key(field)
    }

    pub fn value(&self, field: &str) -> Result<&'a Value> {
        let missing = || self.error(format!("field \"{field}\" is missing"));
        self.object.get(field).ok_or_else(missing)
    }

    pub fn text(&self, field: &str) -> Result<&'a str> {
        let value = self.value(field)?;
        value
            .as_str()
            .ok_or_else(|| self.wrong(field, value, "a text"))
    }

    /// Empty where the field is missing or null.
    pub fn text_or_empty(&self, field: &str) -> Result<&'a str> {
        match self.object.get(field) {
            None | Some(Value::Null) => Ok(""),
            Some(_) => self.text(field),
        }
    }

    pub fn list(&self, field: &str) -> Result<&'a [Value]> {
        let value = self.value(field)?;
        value
            .as_array()
            .map(Vec::as_slice)
            .ok_or_else(|| self.wrong(field, value, "a list"))
    }

    /// A text inside a list, e.g. `responses_and_scores[2].response`.
    pub fn text_at(
        &self,
        field: &str,
        index: usize,
        item: &'a Value,
        key: &str,
    ) -> Result<&'a str> {
        let name = format!("{field}[{index}].{key}");
        match item.get(key) {
            None => Err(self.error(format!("field \"{name}\" is missing"))),
            Some(value) => value
                .as_str()
                .ok_or_else(|| self.wrong(&name, value, "a text")),
        }
    }

    /// `[{"role": …, "content": …}, …]`, or ShareGPT's `[{"from": …, "value": …}, …]`.
    pub fn messages(&self, field: &str) -> Result<Vec<Message>> {
        let mut messages = Vec::new();
        for (i, item) in self.list(field)?.iter().enumerate() {
            let (role, content) = match item.get("from").is_some() {
                true => ("from", "value"),
                false => ("role", "content"),
            };
            let role = match self.text_at(field, i, item, role)? {
                "human" => "user",
                "gpt" => "assistant",
                role => role,
            };
            messages.push(Message::new(role, self.text_at(field, i, item, content)?));
        }
        Ok(messages)
    }
}

/// What the caller came for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    Demonstrations,
    Preferences,
    Prompts,
}

/// What the rows said.
pub(crate) struct Tray {
    pub want: Want,
    pub demonstrations: Vec<Demonstration>,
    pub preferences: Vec<Preference>,
    pub prompts: Vec<Prompt>,
    pub dropped: BTreeMap<String, usize>,
}

impl Tray {
    pub fn new(want: Want) -> Self {
        Self {
            want,
            demonstrations: Vec::new(),
            preferences: Vec::new(),
            prompts: Vec::new(),
            dropped: BTreeMap::new(),
        }
    }

    pub fn drop_row(&mut self, reason: &str) {
        *self.dropped.entry(reason.to_string()).or_default() += 1;
    }

    /// A prompt whose answer is not in the data.
    pub fn prompt(&mut self, prompt: Prompt) {
        match prompt.ask.text().trim() {
            "" => self.drop_row("empty prompt"),
            _ => self.prompts.push(prompt),
        }
    }

    /// The response becomes the prompt's reference too.
    pub fn demonstration(&mut self, ask: crate::Ask, response: &str) {
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

    pub fn preference(&mut self, ask: crate::Ask, chosen: &str, rejected: &str) {
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
