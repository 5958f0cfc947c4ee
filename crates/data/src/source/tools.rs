//! Tools of a row in the form that chat templates expect, OpenAI's: `tools` of
//! `{type, function: {name, description, parameters}}`, and `tool_calls` of
//! `{type, function: {name, arguments}}` whose arguments are an object. Bare functions and calls
//! (LLaMA-Factory) are put into that form, and lists, calls and arguments may be texts of JSON.
//!
//! Columns of Arrow fill up what other rows have with null, so null fields are left out, as TRL
//! does, and counted where the file is not parquet; in a text of JSON a null was written, and
//! stays.

use super::json_text;
use super::row::Row;
use crate::record::{CALLS, TOOLS};
use crate::{Message, Result};
use row_files::{MAX_ROW_VALUES, type_name};
use serde_json::{Map, Value, json};
use strict_json::{AtMost, problem_in_line};

/// A float up to here may be an integer that lost digits; a greater one is taken as a float.
const MAX_INTEGER: f64 = 1e100;

/// Roles of turns that are calls.
pub(super) const CALL_ROLES: [&str; 2] = ["function_call", "tool_call"];
/// Roles of the results of tools.
pub(super) const RESULT_ROLES: [&str; 4] = ["tool", "observation", "function", "tool_response"];

/// The message that declares the tools of the row. None: it lists none.
pub(super) fn of_row(row: &Row) -> Result<Option<Message>> {
    if row.drops_tools() || !row.says(TOOLS) {
        return Ok(None);
    }
    let items = match row.value(TOOLS)? {
        Value::String(text) => {
            row.mark_json_text(TOOLS);
            list_of(text).map_err(|what| {
                row.error(format!("field \"{TOOLS}\" {what}; correct it, {OR_IGNORE}"))
            })?
        }
        Value::Array(items) => filled(row, items),
        one => filled(row, std::slice::from_ref(one)),
    };
    declaration(row, TOOLS, items)
}

/// The tools of a text: a list, or one.
fn list_of(text: &str) -> std::result::Result<Vec<Value>, String> {
    match json_text::object(text) {
        Some(one) => Ok(vec![one]),
        None => json_text::list(text),
    }
}

const OR_IGNORE: &str = "or set data.ignore = [\"tools\"] to use the rows without it";

/// The message of a list of tools; `field` names it. None: the list is empty.
pub(super) fn declaration(row: &Row, field: &str, items: Vec<Value>) -> Result<Option<Message>> {
    if items.is_empty() {
        return Ok(None);
    }
    let tool = |(i, item): (usize, Value)| {
        let name = format!("{field}[{i}]");
        let bad = || {
            row.error(format!(
                "field \"{name}\" is no tool, {{\"type\": \"function\", \"function\": {{\"name\": …, \
                 \"parameters\": …}}}}; correct it, {OR_IGNORE}"
            ))
        };
        let tool = object(item).ok_or_else(bad)?;
        let tool = match tool.contains_key("function") || !tool.contains_key("name") {
            true => tool,
            false => wrapped(Value::Object(tool)),
        };
        let is_named = tool.get("function").is_some_and(|f| f["name"].is_string());
        let tool = is_named.then_some(Value::Object(tool)).ok_or_else(bad)?;
        exact(row, &name, &tool)?;
        Ok(tool)
    };
    let tools = items.into_iter().enumerate().map(tool);
    let tools: Vec<Value> = tools.collect::<Result<_>>()?;
    let mut message = Message::new(TOOLS, "");
    message.fields.insert(TOOLS.to_string(), tools.into());
    Ok(Some(message))
}

/// The calls of a turn: of its own field (`tool_calls`, `function_call`) or its content. `name` is
/// that of the value, for errors.
pub(super) fn calls(row: &Row, name: &str, value: &Value) -> Result<Value> {
    let value = match value {
        Value::String(text) => json(row, name, text)?,
        other => without_nulls(row, other),
    };
    let calls = match value {
        Value::Array(items) => {
            let items = items.into_iter().enumerate();
            let calls = items.map(|(i, item)| call(row, &format!("{name}[{i}]"), item));
            calls.collect::<Result<Vec<_>>>()?
        }
        one => vec![call(row, name, one)?],
    };
    Ok(calls.into())
}

fn call(row: &Row, name: &str, item: Value) -> Result<Value> {
    let bad = || {
        row.error(format!(
            "field \"{name}\" is no call of a tool, {{\"name\": …, \"arguments\": {{…}}}}"
        ))
    };
    let call = object(item).ok_or_else(bad)?;
    let mut call = match call.contains_key("function") {
        true => call,
        false => wrapped(Value::Object(call)),
    };
    let function = call.get_mut("function").and_then(Value::as_object_mut);
    let is_named = |f: &&mut Map<_, _>| f.get("name").is_some_and(Value::is_string);
    let function = function.filter(is_named).ok_or_else(bad)?;
    let arguments = function.entry("arguments").or_insert(Value::Null);
    match arguments {
        Value::Null => *arguments = json!({}),
        Value::String(text) if text.trim().is_empty() => *arguments = json!({}),
        Value::String(text) => *arguments = json(row, &format!("{name}.arguments"), text)?,
        _ => {}
    }
    if !arguments.is_object() {
        return Err(row.error(format!(
            "field \"{name}.arguments\" is {}, not an object",
            type_name(arguments)
        )));
    }
    let call = Value::Object(call);
    exact(row, name, &call)?;
    Ok(call)
}

fn wrapped(function: Value) -> Map<String, Value> {
    let kind = ("type".to_string(), Value::from("function"));
    [kind, ("function".to_string(), function)]
        .into_iter()
        .collect()
}

/// An object, or the text of one.
fn object(item: Value) -> Option<Map<String, Value>> {
    let value = match item {
        Value::String(text) => json_text::object(&text)?,
        other => other,
    };
    match value {
        Value::Object(fields) => Some(fields),
        _ => None,
    }
}

fn json(row: &Row, name: &str, text: &str) -> Result<Value> {
    let what = match AtMost(MAX_ROW_VALUES).of_text(text) {
        Ok(Some(value)) => return Ok(value),
        Ok(None) => "is text of more than a million values".to_string(),
        Err(error) => format!("is text that {}", problem_in_line(&error)),
    };
    Err(row.error(format!("field \"{name}\" {what}")))
}

/// Fails if a number may be an integer of more than 64 bits, which was read as a float.
fn exact(row: &Row, name: &str, value: &Value) -> Result<()> {
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| exact(row, name, item)),
        Value::Object(fields) => fields.values().try_for_each(|item| exact(row, name, item)),
        Value::Number(number) => {
            let float = number.as_f64().filter(|_| number.is_f64());
            let is_long = |n: &f64| *n >= u64::MAX as f64 || *n <= i64::MIN as f64;
            match float.filter(is_long).filter(|n| n.abs() < MAX_INTEGER) {
                Some(_) => Err(row.error(format!(
                    "field \"{name}\" has the number {number}, which may be an integer of more \
                     than 64 bits, and these are not read exactly; write it as a string, or remove \
                     such rows"
                ))),
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// Values of a list that is no text, without the fields that Arrow fills up.
pub(super) fn filled(row: &Row, items: &[Value]) -> Vec<Value> {
    items.iter().map(|item| without_nulls(row, item)).collect()
}

fn without_nulls(row: &Row, value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let says = fields.iter().filter(|(_, value)| !value.is_null());
            let says = says.map(|(name, value)| (name.clone(), without_nulls(row, value)));
            let left = says.collect::<Map<_, _>>();
            if left.len() < fields.len() {
                row.mark_nulls();
            }
            left.into()
        }
        Value::Array(items) => filled(row, items).into(),
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
