//! The protocol of programs and servers as sources of reward: the request `{"items": [{"prompt",
//! "response", "reference"}]}`, and the answer `{"scores": [number]}`, one score per item in order.

use super::foreign_text::printable;
use crate::Item;
use serde_json::{Map, Value, json};
use strict_json::{StrictValue, problem_in_line, repeats_a_key};

/// A longer reply of a program or a server is no answer.
pub(super) const MAX_REPLY_BYTES: u64 = 16 << 20;

/// The request for some items, without its id.
pub(crate) fn request(items: &[Item]) -> Map<String, Value> {
    let item = |item: &Item| {
        json!({
            "prompt": item.prompt,
            "response": item.response,
            "reference": item.reference,
        })
    };
    let items: Vec<Value> = items.iter().map(item).collect();
    Map::from_iter([("items".to_string(), items.into())])
}

/// Parses a program's line: a JSON object that answers request `id`. The error says what is wrong
/// with it.
pub fn read_reply(line: &[u8], id: u64) -> Result<Map<String, Value>, String> {
    let reply = match parse(line) {
        Ok(Value::Object(reply)) => Ok(reply),
        Ok(_) => Err("is not a JSON object".to_string()),
        Err(e) => Err(problem_in_line(&e)),
    };
    let reply = reply.map_err(|why| {
        let start = printable(&String::from_utf8_lossy(line), 80);
        format!("it wrote \"{start}\", which {why}")
    })?;
    match reply.get("id") {
        Some(found) if found.as_u64() == Some(id) => Ok(reply),
        Some(found) => {
            let found = printable(&found.to_string(), 40);
            Err(format!("it answered id {found} to request {id}"))
        }
        None => Err("its answer has no id".to_string()),
    }
}

/// Parses JSON. Python writes NaN and Infinity, which JSON has not: they are read as texts, so that
/// the score is named.
pub(super) fn parse(text: &[u8]) -> serde_json::Result<Value> {
    let parsed = serde_json::from_slice(text).or_else(|error| {
        if repeats_a_key(&error) {
            return Err(error);
        }
        let text = String::from_utf8_lossy(text);
        let quoted = ["NaN", "Infinity"]
            .into_iter()
            .fold(text.replace("-Infinity", "Infinity"), |text, name| {
                text.replace(name, &format!("\"{name}\""))
            });
        serde_json::from_str(&quoted).map_err(|other| match repeats_a_key(&other) {
            true => other,
            false => error,
        })
    });
    parsed.map(|StrictValue(value)| value)
}

/// The `n` scores of a reply. The error says what is wrong with them.
pub fn scores_of(reply: &Map<String, Value>, n: usize) -> Result<Vec<f32>, String> {
    let scores = reply.get("scores").and_then(Value::as_array);
    let scores = scores.ok_or_else(|| "its answer has no list `scores`".to_string())?;
    if scores.len() != n {
        return Err(format!("it answered {} scores for {n} items", scores.len()));
    }
    let score = |(i, value): (usize, &Value)| {
        let score = value.as_f64().map(|score| score as f32);
        let finite = score.filter(|score| score.is_finite());
        finite.ok_or_else(|| {
            let shown = match value {
                Value::String(name) if name == "NaN" || name == "Infinity" => name.clone(),
                other => printable(&other.to_string(), 40),
            };
            let why = match value {
                Value::Number(_) => "too large for a 32-bit float",
                _ => "not a finite number",
            };
            format!("score {} is {shown}, {why}", i + 1)
        })
    };
    scores.iter().enumerate().map(score).collect()
}
