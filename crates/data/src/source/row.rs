//! A dataset format and one row in it: typed access to the row's fields, with errors that name
//! file, row and field.

use super::collector::Collector;
use super::format::Format;
use super::rows::{Object, row_error, type_name};
use crate::{Error, Message, Result};
use serde_json::Value;
use std::path::Path;

/// The records that a format's rows hold.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Demonstrations,
    Preferences,
    Questions,
}

/// One dataset format.
pub(super) struct Source {
    pub format: Format,
    /// For error messages: `Alpaca`.
    pub name: &'static str,
    /// For error messages: `instruction, input, output`.
    pub fields: &'static str,
    pub kind: Kind,
    /// Whether a row with these fields is likely in this format.
    pub fits: fn(&Object) -> bool,
    /// Reads one row into the collector.
    pub read: fn(&Row, &mut Collector) -> Result<()>,
}

/// A row and what its errors name.
pub(super) struct Row<'a> {
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
            type_name(value)
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
            .ok_or_else(|| self.wrong(field, value, "a string"))
    }

    /// The text of a field; empty if it is missing or null.
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

    /// A string inside a list, e.g. `responses_and_scores[2].response`.
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
                .ok_or_else(|| self.wrong(&name, value, "a string")),
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
