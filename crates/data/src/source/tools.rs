//! Tools of a row in the form that chat templates expect, OpenAI's: `tools` of
//! `{type, function: {name, description, parameters}}`, and `tool_calls` of
//! `{type, function: {name, arguments}}` whose arguments are an object. Bare functions and calls
//! (LLaMA-Factory) are put into that form, and lists, calls and arguments may be texts of JSON.
//!
//! Columns of Arrow fill up what other rows have with null, so null fields are left out, as TRL
//! does; in a text of JSON a null was written, and stays.

use super::json_text;
use super::row::Row;
use crate::record::{CALLS, TOOLS};
use crate::{Message, Result};
use row_files::type_name;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use strict_json::StrictValue;

/// Roles of turns that are calls.
pub(super) const CALL_ROLES: [&str; 2] = ["function_call", "tool_call"];
/// Roles of the results of tools.
pub(super) const RESULT_ROLES: [&str; 4] = ["tool", "observation", "function", "tool_response"];

/// The message that declares the tools of the row. None: it lists none.
pub(super) fn of_row(row: &Row) -> Result<Option<Message>> {
    if row.drops_tools() || !row.says(TOOLS) {
        return Ok(None);
    }
    let value = row.value(TOOLS)?;
    let list = match value {
        Value::Array(_) | Value::String(_) => row.list(TOOLS)?,
        other => Cow::from(std::slice::from_ref(other)),
    };
    declaration(row, TOOLS, &list, value.is_string()).map(Some)
}

/// The message of a list of tools; `field` names it.
pub(super) fn declaration(
    row: &Row,
    field: &str,
    items: &[Value],
    is_text: bool,
) -> Result<Message> {
    let tool = |(i, item): (usize, &Value)| {
        let name = format!("{field}[{i}]");
        let bad = || {
            row.error(format!(
                "field \"{name}\" is no tool, {{\"type\": \"function\", \"function\": {{\"name\": …, \
                 \"parameters\": …}}}}; correct it, or set data.ignore = [\"{TOOLS}\"] to use the \
                 rows without it"
            ))
        };
        let tool = object(item, is_text).ok_or_else(bad)?;
        let tool = match tool.contains_key("function") || !tool.contains_key("name") {
            true => tool,
            false => wrapped(Value::Object(tool)),
        };
        let is_named = tool.get("function").is_some_and(|f| f["name"].is_string());
        match is_named {
            true => Ok(Value::Object(tool)),
            false => Err(bad()),
        }
    };
    let items = items.iter().enumerate().map(tool);
    let tools: Vec<Value> = items.collect::<Result<_>>()?;
    let mut message = Message::new(TOOLS, "");
    message.fields.insert(TOOLS.to_string(), tools.into());
    Ok(message)
}

/// The calls of a turn: of its own field (`tool_calls`, `function_call`) or its content. `name` is
/// that of the value, for errors.
pub(super) fn calls(row: &Row, name: &str, value: &Value) -> Result<Value> {
    let parsed = match value.as_str() {
        Some(text) => Some(json(row, name, text)?),
        None => None,
    };
    let items = match parsed.as_ref().unwrap_or(value) {
        Value::Array(items) => items.clone(),
        one => vec![one.clone()],
    };
    let items = items.iter().enumerate();
    let calls = items.map(|(i, item)| call(row, &format!("{name}[{i}]"), item, parsed.is_some()));
    calls.collect::<Result<Vec<_>>>().map(Value::from)
}

fn call(row: &Row, name: &str, item: &Value, is_text: bool) -> Result<Value> {
    let bad = || {
        row.error(format!(
            "field \"{name}\" is no call of a tool, {{\"name\": …, \"arguments\": {{…}}}}"
        ))
    };
    let call = object(item, is_text).ok_or_else(bad)?;
    let mut call = match call.contains_key("function") {
        true => call,
        false => wrapped(Value::Object(call)),
    };
    let function = call.get_mut("function").and_then(Value::as_object_mut);
    let is_named = |f: &&mut Map<_, _>| f.get("name").is_some_and(Value::is_string);
    let function = function.filter(is_named).ok_or_else(bad)?;
    let arguments = match function.get("arguments") {
        None | Some(Value::Null) => json!({}),
        Some(Value::String(text)) if text.trim().is_empty() => json!({}),
        Some(Value::String(text)) => json(row, &format!("{name}.arguments"), text)?,
        Some(other) => other.clone(),
    };
    if !arguments.is_object() {
        return Err(row.error(format!(
            "field \"{name}.arguments\" is {}, not an object",
            type_name(&arguments)
        )));
    }
    function.insert("arguments".to_string(), arguments);
    Ok(Value::Object(call))
}

fn wrapped(function: Value) -> Map<String, Value> {
    let kind = ("type".to_string(), Value::from("function"));
    [kind, ("function".to_string(), function)]
        .into_iter()
        .collect()
}

/// An object, or the text of one. `is_text`: it is part of a text of JSON.
fn object(item: &Value, is_text: bool) -> Option<Map<String, Value>> {
    let value = match item {
        Value::String(text) => json_text::object(text)?,
        _ if is_text => item.clone(),
        _ => without_nulls(item),
    };
    match value {
        Value::Object(fields) => Some(fields),
        _ => None,
    }
}

fn json(row: &Row, name: &str, text: &str) -> Result<Value> {
    let parsed = serde_json::from_str::<StrictValue>(text);
    parsed.map(|value| value.0).map_err(|error| {
        let what = strict_json::problem_in_line(&error);
        row.error(format!("field \"{name}\" is text that {what}"))
    })
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| !value.is_null());
            let fields = fields.map(|(name, value)| (name.clone(), without_nulls(value)));
            fields.collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

/// The turn of an assistant that calls tools.
pub(super) fn calling(content: Option<&str>, calls: Value) -> Message {
    let mut message = Message::new("assistant", content.unwrap_or_default());
    if content.is_none() {
        message.fields.insert("content".to_string(), Value::Null);
    }
    message.fields.insert(CALLS.to_string(), calls);
    message
}
