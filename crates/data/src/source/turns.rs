//! Lists of turns: `{role, content}` of OpenAI or `{from, value}` of ShareGPT, keys in any case. A
//! content is a text or OpenAI's list of text parts. Speakers get the usual names.

use super::json_text;
use super::row::Row;
use super::scalar::number;
use super::tools;
use super::unused::is_empty;
use crate::record::TOOL;
use crate::{Message, Result};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Fields that hold a conversation, the usual first.
pub(super) const LISTS: [&str; 6] = [
    "messages",
    "conversations",
    "conversation",
    "dialog",
    "dialogue",
    "items",
];

/// Fields of an assistant's turn that hold calls of tools.
const CALLS: [&str; 2] = [TOOL_CALLS, "function_call"];

/// The role of a turn that holds nothing but calls of tools, where these are not read.
const TOOL_CALLS: &str = "tool_calls";

/// The role of a turn whose text is a call of a tool.
const CALL: &str = "function_call";

/// The first field of a row that holds a conversation.
pub(super) fn list_of(row: &Map<String, Value>) -> Option<&'static str> {
    LISTS
        .into_iter()
        .find(|name| row.get(*name).is_some_and(is_turns))
}

/// Whether a value is a list of turns, or the text of one (in JSON, or as Python prints it).
pub(super) fn is_turns(value: &Value) -> bool {
    match value {
        Value::Array(items) => !items.is_empty() && items.iter().all(is_turn),
        Value::String(text) if json_text::is_list(text) => match json_text::list(text) {
            Ok(items) => !items.is_empty() && items.iter().all(is_turn),
            Err(_) => python_turns(text),
        },
        _ => false,
    }
}

/// Whether a value is the list of these turns, but for white space around them.
pub(super) fn are(value: &Value, turns: &[Message]) -> bool {
    let same = |(item, turn): (&Value, &Message)| {
        let text = |names: &[&str]| key(item, names).and_then(|key| item[key].as_str());
        let content = text(&["value", "content", "text"]).map(str::trim);
        let role = text(&["from", "role"]).map(role_of);
        content == Some(turn.content.trim()) && role == Some(&turn.role)
    };
    let items = match value {
        Value::String(text) => Cow::from(json_text::list(text).unwrap_or_default()),
        other => Cow::from(other.as_array().map(Vec::as_slice).unwrap_or_default()),
    };
    items.len() == turns.len() && items.iter().zip(turns).all(same)
}

/// Whether an object is a turn and nothing else: an answer may be JSON that has a role, too.
fn is_only_turn(item: &Value) -> bool {
    let role = key(item, &["from", "role"]).and_then(|key| item[key].as_str());
    let is_known = role
        .map(role_of)
        .is_some_and(|role| ["user", "assistant"].contains(&role));
    let n_fields = item.as_object().map_or(0, Map::len);
    is_known && n_fields == 2 && key(item, &["value", "content"]).is_some()
}

fn is_turn(item: &Value) -> bool {
    key(item, &["from", "role"]).is_some()
}

fn python_turns(text: &str) -> bool {
    let has = |name: &str| text.contains(&format!("'{name}': "));
    (has("role") && has("content")) || (has("from") && has("value"))
}

/// The key of an object that is one of these names in any case.
fn key<'v>(item: &'v Value, names: &[&str]) -> Option<&'v str> {
    let keys = || item.as_object().into_iter().flat_map(Map::keys);
    let find = |name: &&str| keys().find(|key| key.eq_ignore_ascii_case(name));
    names.iter().find_map(find).map(String::as_str)
}

/// The turns of a field that is a list of them.
pub(super) fn read(row: &Row, field: &str) -> Result<Vec<Message>> {
    of_items(row, field, &row.list(field)?)
}

/// The turns of a list; `field` names it.
pub(super) fn of_items(row: &Row, field: &str, items: &[Value]) -> Result<Vec<Message>> {
    let last = items.len().saturating_sub(1);
    let turns = items.iter().enumerate();
    turns
        .map(|(i, item)| turn(row, field, (i, i == last), item))
        .collect()
}

/// The turns of a field that may be a text: None. An object is a single turn.
pub(super) fn read_if(row: &Row, field: &str) -> Result<Option<Vec<Message>>> {
    match row.value(field)? {
        Value::Array(_) => read(row, field).map(Some),
        value @ Value::String(_) if is_turns(value) => read(row, field).map(Some),
        value @ Value::Object(_) if is_turn(value) => {
            Ok(Some(vec![turn(row, field, (0, true), value)?]))
        }
        Value::String(text) => match json_text::object(text).filter(is_only_turn) {
            Some(item) => {
                row.mark_json_text(field);
                Ok(Some(vec![turn(row, field, (0, true), &item)?]))
            }
            None => Ok(None),
        },
        _ => Ok(None),
    }
}

/// The turn of this index, which is the last or not.
fn turn(row: &Row, field: &str, (index, is_last): (usize, bool), item: &Value) -> Result<Message> {
    let (role_key, usual) = match key(item, &["from"]) {
        Some(from) => (from, "value"),
        None => (key(item, &["role"]).unwrap_or("role"), "content"),
    };
    let content_key = key(item, &[usual, "content", "value", "text"]).unwrap_or(usual);
    let said = row.text_at(field, index, item, role_key)?;
    let (role, is_call) = match role_of(said) {
        TOOL if row.drops_tools() => (said, false),
        CALL if row.drops_tools() => (said, false),
        CALL => ("assistant", true),
        role => (role, false),
    };
    let name = |key: &str| format!("{field}[{index}].{key}");
    let says = |key: &&&str| item.get(**key).is_some_and(|value| !is_empty(value));
    let calls = CALLS.iter().find(says).filter(|_| role == "assistant");
    let says_nothing = item.get(content_key).is_none_or(is_empty);
    let reads_calls = |key: &&&str| !row.drops_tools() && !row.ignores(field, key);
    let mut known = vec![role_key, content_key];
    let message = match calls.filter(reads_calls) {
        _ if is_call => {
            let value = item.get(content_key).unwrap_or(&Value::Null);
            tools::calling(None, tools::calls(row, &name(content_key), value)?)
        }
        Some(key) => {
            known.push(key);
            let calls = tools::calls(row, &name(key), &item[*key])?;
            match item.get(content_key) {
                None | Some(Value::Null) => tools::calling(None, calls),
                Some(_) => {
                    let content = content(row, field, index, item, content_key)?;
                    tools::calling(Some(&content), calls)
                }
            }
        }
        None if calls.is_some() && says_nothing => return Ok(Message::new(TOOL_CALLS, "")),
        None => {
            let content = content(row, field, index, item, content_key)?;
            let mut message = Message::new(role, &content);
            if role == TOOL && !row.drops_tools() {
                for key in ["name", "tool_call_id"] {
                    if let Some(text @ Value::String(_)) = item.get(key) {
                        known.push(key);
                        message.fields.insert(key.to_string(), text.clone());
                    }
                }
            }
            message
        }
    };
    let is_context = is_weightless(row, field, is_last, (role, item));
    // an answer is trained and other turns are not, in any case
    let usual = if role == "assistant" { 1.0 } else { 0.0 };
    if is_context || item.get("weight").and_then(number) == Some(usual) {
        known.push("weight");
    }
    row.only_read(field, item, &known);
    Ok(Message {
        is_context,
        ..message
    })
}

/// Whether OpenAI's weight 0 makes an answer context. On the last one it is passed over if
/// `data.ignore` names it.
fn is_weightless(row: &Row, field: &str, is_last: bool, (role, item): (&str, &Value)) -> bool {
    let is_zero = item.get("weight").and_then(number) == Some(0.0);
    role == "assistant" && is_zero && !(is_last && row.ignores(field, "weight"))
}

/// The usual name of a speaker; an unknown one stays as it is.
fn role_of(role: &str) -> &str {
    const ASSISTANTS: [&str; 12] = [
        "gpt",
        "assistant",
        "model",
        "bot",
        "chatbot",
        "ai",
        "chatgpt",
        "bing",
        "bard",
        "claude",
        "gemini",
        "llama",
    ];
    let lower = role.trim().to_lowercase();
    match lower.as_str() {
        "human" | "user" | "prompter" => "user",
        "system" | "developer" => "system",
        name if tools::CALL_ROLES.contains(&name) => CALL,
        name if tools::RESULT_ROLES.contains(&name) => TOOL,
        name if ASSISTANTS.contains(&name) => "assistant",
        name if ["gpt-", "chatgpt-", "claude-"]
            .iter()
            .any(|start| name.starts_with(start)) =>
        {
            "assistant"
        }
        _ => role,
    }
}

/// The text of a turn. Parts are joined as chat templates join them, without anything between.
fn content<'v>(
    row: &Row,
    field: &str,
    index: usize,
    item: &'v Value,
    key: &str,
) -> Result<Cow<'v, str>> {
    let Some(Value::Array(parts)) = item.get(key) else {
        return row.text_at(field, index, item, key).map(Cow::from);
    };
    let name = format!("{field}[{index}].{key}");
    if parts.is_empty() {
        return Err(row.error(format!("field \"{name}\" is a list without parts")));
    }
    let mut text = String::new();
    for (i, part) in parts.iter().enumerate() {
        let kind = row.text_at(&name, i, part, "type")?;
        if kind != "text" {
            return Err(row.error(format!(
                "field \"{name}[{i}]\" is a part of type \"{kind}\", and only text can be learnt; \
                 remove such rows or parts"
            )));
        }
        row.only_read(&format!("{field}[].{key}"), part, &["type", "text"]);
        text += row.text_at(&name, i, part, "text")?;
    }
    Ok(text.into())
}
