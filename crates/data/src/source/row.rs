//! A dataset format and one row in it: typed access to the row's fields, with errors that name
//! file, row and field. A row remembers which of its fields were read; the others are checked
//! after the reader is done, so no reader can drop one silently.

use super::collector::Collector;
use super::format::{Format, ReadOptions};
use super::json_text;
use super::remarks::Remark;
use super::scalar::number;
use super::transcript;
use super::unused::{Effect, Verdict, effect, is_empty, is_identifier, is_verdict, verdict};
use crate::{Error, Message, Result};
use row_files::{Object, row_error, type_name};
use serde_json::Value;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
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

/// Fields of a format that change what a row means, and why a row with one is refused.
pub(super) struct Refused {
    pub fields: &'static [&'static str],
    /// After `field "label"`: `says …`.
    pub why: &'static str,
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
    /// Fields of the format that must not be passed over unless `data.ignore` names them.
    pub refused: &'static [Refused],
    pub kind: Kind,
    /// Whether a row with these fields is likely in this format.
    pub fits: fn(&Object) -> bool,
    /// Reads one row into the collector.
    pub read: fn(&Row, &mut Collector) -> Result<()>,
}

impl Source {
    /// The name and the fields of its rows as users know them.
    pub fn shown(&self, row: &Object) -> (&'static str, &'static str) {
        let has = |name: &str| row.contains_key(name);
        match self.format {
            Format::Chat if has("conversations") && !has("messages") => {
                ("ShareGPT", "conversations: a list of {from, value}")
            }
            _ => (self.name, self.fields),
        }
    }

    /// As [`shown`](Self::shown), where all is well with the row.
    pub fn shown_of(&self, row: &Object) -> (&'static str, &'static str) {
        match self.format {
            Format::PromptCompletion if !row.contains_key("completion") => ("prompt", "prompt"),
            _ => self.shown(row),
        }
    }

    /// Its name in a list of formats.
    pub fn listed(&self) -> &'static str {
        match self.format {
            Format::Chat => "chat (messages, ShareGPT)",
            _ => self.name,
        }
    }
}

/// A row and what its errors name.
pub(super) struct Row<'a> {
    path: &'a Path,
    number: usize,
    object: &'a Object,
    source: &'a Source,
    options: &'a ReadOptions,
    /// Fields of the row that were read.
    read: RefCell<BTreeSet<String>>,
    /// Fields inside lists that say something and were not: `messages[].name`, with the values of
    /// those that say how good an answer is.
    unread: RefCell<Vec<(String, Value)>>,
    /// Fields that hold a list as text.
    json_texts: RefCell<BTreeSet<String>>,
    has_transcript: Cell<bool>,
    /// Fields of null in its tools and calls were left out.
    has_nulls: Cell<bool>,
    /// Fields whose text stands for a missing value, and the text.
    missing_texts: RefCell<BTreeSet<(String, String)>>,
}

/// What pandas writes for a missing value once a column is text.
const MISSING: [&str; 4] = ["nan", "NaN", "NAN", "<NA>"];

impl<'a> Row<'a> {
    /// `object`: without the fields that `options` ignores.
    pub fn new(
        path: &'a Path,
        (number, object): (usize, &'a Object),
        source: &'a Source,
        options: &'a ReadOptions,
    ) -> Self {
        Self {
            path,
            number,
            object,
            source,
            options,
            read: RefCell::default(),
            unread: RefCell::default(),
            json_texts: RefCell::default(),
            has_transcript: Cell::default(),
            has_nulls: Cell::default(),
            missing_texts: RefCell::default(),
        }
    }

    /// `file: row 12: {what}; Alpaca rows have …`
    pub fn error(&self, what: impl std::fmt::Display) -> Error {
        let (name, fields) = self.source.shown(self.object);
        row_error(
            self.path,
            self.number,
            format!("{what}; {name} rows have {fields}"),
        )
        .into()
    }

    /// The field has not the type it needs.
    pub fn wrong(&self, field: &str, value: &Value, wanted: &str) -> Error {
        let what = format!("field \"{field}\" is {}, not {wanted}", type_name(value));
        self.of_another_format(what)
    }

    fn missing(&self, field: &str) -> Error {
        if self.options.ignores(field) {
            let what = format!("field \"{field}\" is needed, and data.ignore leaves it out");
            return self.error(what);
        }
        self.of_another_format(format!("field \"{field}\" is missing"))
    }

    /// A fault that may come from a row of another format than the file's.
    fn of_another_format(&self, what: String) -> Error {
        if (self.source.fits)(self.object) {
            return self.error(what);
        }
        let has = self.names().collect::<Vec<_>>().join(", ");
        let Source { name, fields, .. } = self.source;
        let what = format!(
            "{what}: the row has {has}, and the file is read as {name} rows ({fields}); if it is \
             of another format, write it into a file of its own"
        );
        row_error(self.path, self.number, what).into()
    }

    /// Its fields that are not ignored.
    pub fn object(&self) -> &'a Object {
        self.object
    }

    /// The names of its fields.
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        self.object.keys().map(String::as_str)
    }

    pub fn has(&self, field: &str) -> bool {
        self.object.contains_key(field)
    }

    /// Whether a reader has looked at the field.
    pub fn was_read(&self, field: &str) -> bool {
        self.read.borrow().contains(field)
    }

    /// Whether the field is there and says something.
    pub fn says(&self, field: &str) -> bool {
        self.object.get(field).is_some_and(|value| !is_empty(value))
    }

    pub fn value(&self, field: &str) -> Result<&'a Value> {
        self.read.borrow_mut().insert(field.to_string());
        self.object.get(field).ok_or_else(|| self.missing(field))
    }

    pub fn text(&self, field: &str) -> Result<&'a str> {
        let value = self.value(field)?;
        let text = value.as_str();
        if let Some(missing) = text.filter(|text| MISSING.contains(&text.trim())) {
            self.missing_texts
                .borrow_mut()
                .insert((field.to_string(), missing.trim().to_string()));
        }
        text.ok_or_else(|| self.wrong(field, value, "a string"))
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

    /// The number 0 or 1, as false or true.
    pub fn zero_or_one(&self, field: &str) -> Result<bool> {
        let value = self.value(field)?;
        match number(value) {
            Some(0.0) => Ok(false),
            Some(1.0) => Ok(true),
            _ => Err(self.error(format!("field \"{field}\" is {value}, not 0 or 1"))),
        }
    }

    /// The field under one of two names; an error if both say something. If neither is there,
    /// `names[0]` is the one that the error misses.
    pub fn one_of(&self, names: [&'static str; 2]) -> Result<&'static str> {
        let [one, other] = names;
        match (self.says(one), self.says(other)) {
            (true, true) => Err(self.error(format!(
                "fields \"{one}\" and \"{other}\" mean the same; remove one of them, or set \
                 data.ignore = [\"{other}\"]"
            ))),
            (false, true) => Ok(other),
            _ if !self.has(one) && self.has(other) => Ok(other),
            _ => Ok(one),
        }
    }

    /// A list, or the text of one in JSON, as CSV files have it.
    pub fn list(&self, field: &str) -> Result<Cow<'a, [Value]>> {
        let value = self.value(field)?;
        match value {
            Value::Array(items) => Ok(items.into()),
            Value::String(text) if json_text::is_list(text) => {
                self.mark_json_text(field);
                json_text::list(text)
                    .map(Cow::from)
                    .map_err(|what| self.error(format!("field \"{field}\" {what}")))
            }
            _ => Err(self.wrong(field, value, "a list")),
        }
    }

    /// Says that a field is the text of a list or a turn.
    pub fn mark_json_text(&self, field: &str) {
        self.json_texts.borrow_mut().insert(field.to_string());
    }

    /// The fields that were read as lists or turns and are text.
    pub fn json_texts(&self) -> BTreeSet<String> {
        self.json_texts.take()
    }

    /// The turns of a text that is a transcript. The row's answers then follow a speaker's mark.
    pub fn transcript(&self, text: &str) -> Option<Vec<Message>> {
        let turns = transcript::conversation(text);
        self.has_transcript
            .set(self.has_transcript.get() || turns.is_some());
        turns
    }

    /// Whether the prompt was read from a transcript.
    pub fn has_transcript(&self) -> bool {
        self.has_transcript.get()
    }

    /// Says that fields of null were left out of its tools or calls.
    pub fn mark_nulls(&self) {
        self.has_nulls.set(true);
    }

    /// Says that of an object in the list `field` only `known` is read.
    pub fn only_read(&self, field: &str, item: &Value, known: &[&str]) {
        self.only_read_of(&format!("{field}[]"), item, known);
    }

    /// Says that of the object `field` only `known` is read.
    pub fn only_read_of(&self, field: &str, item: &Value, known: &[&str]) {
        let fields = item.as_object().into_iter().flatten();
        let others =
            fields.filter(|(key, value)| !known.contains(&key.as_str()) && !is_empty(value));
        let named = others.map(|(key, value)| {
            let says = is_verdict(key).then(|| value.clone());
            (format!("{field}.{key}"), says.unwrap_or_default())
        });
        self.unread.borrow_mut().extend(named);
    }

    /// A field that this does not read.
    pub fn peek(&self, field: &str) -> Option<&'a Value> {
        self.object.get(field)
    }

    /// Whether conversations with tools are dropped.
    pub fn drops_tools(&self) -> bool {
        self.options.drops_tools
    }

    /// Whether `data.ignore` names a field inside a list: `messages[].weight` or `weight`.
    pub fn ignores(&self, list: &str, field: &str) -> bool {
        self.options.ignores(field) || self.options.ignores(&format!("{list}[].{field}"))
    }

    /// Says that a field was read.
    pub fn mark_read(&self, field: &str) {
        self.read.borrow_mut().insert(field.to_string());
    }

    /// The fields that say something and were not read, without those that `options` ignores.
    ///
    /// Errors: one of them would change what the row means or what its prompt is.
    pub fn unused(&self, options: &ReadOptions) -> Result<Vec<String>> {
        let read = self.read.borrow();
        let fields = self.object.iter().filter(|(name, value)| {
            !read.contains(*name)
                && !self.source.descriptive.contains(&name.as_str())
                && !is_empty(value)
                && !is_identifier(name, value)
        });
        let fields = fields.map(|(name, _)| name.clone());
        let mut unused = BTreeSet::new();
        let unread = self.unread.borrow();
        let inside = unread.iter().map(|(name, _)| name.clone());
        for name in fields.chain(inside) {
            let last = name.rsplit('.').next().unwrap_or(&name);
            if options.ignores(&name) || options.ignores(last) {
                continue;
            }
            let mut refused = self.source.refused.iter();
            let refused = refused.find(|refused| refused.fields.contains(&name.as_str()));
            let why = match effect(last) {
                _ if refused.is_some() => refused.map_or("", |refused| refused.why),
                Effect::Unknown => {
                    unused.insert(name);
                    continue;
                }
                Effect::Label => "grades or weighs the row, and nothing here reads it",
                Effect::Context => "belongs to the prompt, and there is no place for it here",
            };
            let advice = match is_verdict(&name) {
                true => {
                    "keep only the rows whose answers are to be learnt, without the field".into()
                }
                false => format!(
                    "remove such rows or the field, or set data.ignore = [\"{name}\"] to use the \
                     rows without it"
                ),
            };
            let what = format!("field \"{name}\" {why}; {advice}");
            return Err(row_error(self.path, self.number, what).into());
        }
        Ok(unused.into_iter().collect())
    }

    /// Remarks on the row, if it is used. `is_learnt`: one of its answers is learnt.
    pub fn remarks(&self, is_learnt: bool) -> Vec<Remark> {
        let missing = self.missing_texts.take().into_iter();
        let mut remarks: Vec<Remark> = missing
            .map(|(field, text)| Remark::Missing(field, text))
            .collect();
        remarks.extend(self.has_nulls.get().then_some(Remark::Nulls));
        let read = self.read.borrow();
        let unread = self.unread.borrow();
        let inside = unread.iter().map(|(name, value)| (name, value));
        let fields = self.object.iter().filter(|(name, _)| !read.contains(*name));
        let mut seen = BTreeSet::new();
        for (name, value) in fields.chain(inside).filter(|_| is_learnt) {
            let last = name.rsplit('.').next().unwrap_or(name);
            let is_ignored = self.options.ignores(name) || self.options.ignores(last);
            let verdict = verdict(name, value).filter(|_| is_ignored && seen.insert(name));
            remarks.extend(verdict.map(|verdict| match verdict {
                Verdict::Bad(says) => Remark::Bad(name.clone(), says),
                Verdict::Grade => Remark::Graded(name.clone()),
            }));
        }
        remarks
    }
}
