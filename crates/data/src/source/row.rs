//! A dataset format and one row in it: typed access to the row's fields, with errors that name
//! file, row and field. A row remembers which of its fields were read; the others are checked
//! after the reader is done, so no reader can drop one silently.

use super::collector::Collector;
use super::format::{Format, ReadOptions};
use super::unused::{Effect, effect, is_empty};
use crate::{Error, Message, Result};
use row_files::{Object, row_error, type_name};
use serde_json::Value;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;

/// The records that a format's rows hold.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Demonstrations,
    Preferences,
    Questions,
    /// Texts without a prompt
    Texts,
}

/// One dataset format.
pub(super) struct Source {
    pub format: Format,
    /// For error messages: `Alpaca`.
    pub name: &'static str,
    /// For error messages: `instruction, input, output`.
    pub fields: &'static str,
    /// Fields of the format that describe a row and are used by nothing.
    pub descriptive: &'static [&'static str],
    pub kind: Kind,
    /// Whether a row with these fields is likely in this format.
    pub fits: fn(&Object) -> bool,
    /// Reads one row into the collector.
    pub read: fn(&Row, &mut Collector) -> Result<()>,
}

/// A row and what its errors name.
pub(super) struct Row<'a> {
    path: &'a Path,
    number: usize,
    object: &'a Object,
    source: &'a Source,
    /// Fields of the row that were read.
    read: RefCell<BTreeSet<String>>,
    /// Fields inside lists that were not: `messages[].name` and its value.
    unread: RefCell<Vec<(String, &'a Value)>>,
}

impl<'a> Row<'a> {
    pub fn new(path: &'a Path, number: usize, object: &'a Object, source: &'a Source) -> Self {
        Self {
            path,
            number,
            object,
            source,
            read: RefCell::default(),
            unread: RefCell::default(),
        }
    }

    /// `file: row 12: {what}; Alpaca rows have …`
    pub fn error(&self, what: impl std::fmt::Display) -> Error {
        let Source { name, fields, .. } = self.source;
        row_error(
            self.path,
            self.number,
            format!("{what}; {name} rows have {fields}"),
        )
        .into()
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

    /// Whether the field is there and says something.
    pub fn says(&self, field: &str) -> bool {
        self.object.get(field).is_some_and(|value| !is_empty(value))
    }

    pub fn value(&self, field: &str) -> Result<&'a Value> {
        self.read.borrow_mut().insert(field.to_string());
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

    /// A finite number, or one in a string, as some releases have it.
    pub fn number(&self, field: &str) -> Result<f64> {
        let value = self.value(field)?;
        number(value)
            .ok_or_else(|| self.error(format!("field \"{field}\" is {value}, not a number")))
    }

    /// The field under one of two names; an error if both say something. If neither is there,
    /// `names[0]` is the one that the error misses.
    pub fn one_of(&self, names: [&'static str; 2]) -> Result<&'static str> {
        let [one, other] = names;
        match (self.says(one), self.says(other)) {
            (true, true) => Err(self.error(format!(
                "fields \"{one}\" and \"{other}\" mean the same; remove one of them"
            ))),
            (false, true) => Ok(other),
            _ if !self.has(one) && self.has(other) => Ok(other),
            _ => Ok(one),
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
        if !item.is_object() {
            return Err(self.wrong(&format!("{field}[{index}]"), item, "an object"));
        }
        let name = format!("{field}[{index}].{key}");
        match item.get(key) {
            None => Err(self.error(format!("field \"{name}\" is missing"))),
            Some(value) => value
                .as_str()
                .ok_or_else(|| self.wrong(&name, value, "a string")),
        }
    }

    /// Says that of an object in the list `field` only `known` is read.
    pub fn only_read(&self, field: &str, item: &'a Value, known: &[&str]) {
        let fields = item.as_object().into_iter().flatten();
        let others = fields.filter(|(key, _)| !known.contains(&key.as_str()));
        let named = others.map(|(key, value)| (format!("{field}[].{key}"), value));
        self.unread.borrow_mut().extend(named);
    }

    /// `[{"role": …, "content": …}, …]`, or ShareGPT's `[{"from": …, "value": …}, …]`. Other names
    /// of the user and the assistant get the usual one; an unknown role stays as it is. A content
    /// is a text, or OpenAI's list of text parts.
    pub fn messages(&self, field: &str) -> Result<Vec<Message>> {
        let mut messages = Vec::new();
        for (i, item) in self.list(field)?.iter().enumerate() {
            let (role, content) = match item.get("from").is_some() {
                true => ("from", "value"),
                false => ("role", "content"),
            };
            self.only_read(field, item, &[role, content]);
            let role = self.text_at(field, i, item, role)?;
            let role = match role.to_lowercase().as_str() {
                "human" | "user" => "user",
                "gpt" | "assistant" | "model" | "bot" | "chatgpt" | "bing" | "bard" => "assistant",
                "system" => "system",
                _ => role,
            };
            messages.push(Message::new(role, &self.content(field, i, item, content)?));
        }
        Ok(messages)
    }

    /// The text of a turn. Parts are joined as chat templates join them, without anything between.
    fn content(
        &self,
        field: &str,
        index: usize,
        item: &'a Value,
        key: &str,
    ) -> Result<Cow<'a, str>> {
        let Some(Value::Array(parts)) = item.get(key) else {
            return self.text_at(field, index, item, key).map(Cow::from);
        };
        let name = format!("{field}[{index}].{key}");
        if parts.is_empty() {
            return Err(self.error(format!("field \"{name}\" is a list without parts")));
        }
        let mut text = String::new();
        for (i, part) in parts.iter().enumerate() {
            let kind = self.text_at(&name, i, part, "type")?;
            if kind != "text" {
                return Err(self.error(format!(
                    "field \"{name}[{i}]\" is a part of type \"{kind}\", and only text can be \
                     learnt; remove such rows or parts"
                )));
            }
            self.only_read(&format!("{field}[].{key}"), part, &["type", "text"]);
            text += self.text_at(&name, i, part, "text")?;
        }
        Ok(text.into())
    }

    /// The fields that say something and were not read, without those that `options` ignores.
    ///
    /// Errors: one of them would change what the row means or what its prompt is.
    pub fn unused(&self, options: &ReadOptions) -> Result<Vec<String>> {
        let read = self.read.borrow();
        let fields = self.object.iter();
        let fields = fields
            .filter(|(name, _)| !read.contains(*name))
            .filter(|(name, _)| !self.source.descriptive.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value));
        let mut unused = BTreeSet::new();
        for (name, value) in fields.chain(self.unread.borrow().iter().cloned()) {
            let last = name.rsplit('.').next().unwrap_or(&name);
            if is_empty(value) || options.ignores(&name) || options.ignores(last) {
                continue;
            }
            let why = match effect(last) {
                Effect::Unknown => {
                    unused.insert(name);
                    continue;
                }
                Effect::Label => "grades or weighs the row, and nothing here reads it",
                Effect::Context => "belongs to the prompt, and there is no place for it here",
            };
            return Err(row_error(
                self.path,
                self.number,
                format!(
                    "field \"{name}\" {why}; remove such rows or the field, or set data.ignore = \
                     [\"{name}\"] to use the rows without it"
                ),
            )
            .into());
        }
        Ok(unused.into_iter().collect())
    }
}

/// A finite number, or one in a string.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => text.trim().parse().ok().filter(|n: &f64| n.is_finite()),
        other => other.as_f64(),
    }
}
