//! The protocol of programs and servers as sources of reward: the request `{"items": [{"prompt",
//! "response", "reference"}]}`, and the answer `{"scores": [number]}`, one score per item in order.

use crate::Item;
use serde_json::{Map, Value, json};

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
    let reply: Map<String, Value> = serde_json::from_slice(line).map_err(|e| {
        let start: String = String::from_utf8_lossy(line).chars().take(80).collect();
        format!(
            "it wrote {:?}, which is not a JSON object: {e}",
            start.trim()
        )
    })?;
    match reply.get("id") {
        Some(found) if found.as_u64() == Some(id) => Ok(reply),
        Some(found) => Err(format!("it answered id {found} to request {id}")),
        None => Err("its answer has no id".to_string()),
    }
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
        finite.ok_or_else(|| format!("score {} is {value}, not a finite number", i + 1))
    };
    scores.iter().enumerate().map(score).collect()
}
