//! Lists, and single turns, that a row holds as text: in JSON, as CSV files and some Parquet files
//! have them. What Python prints for a list looks alike, but its quotes cannot be read safely: it
//! is refused.

use row_files::MAX_ROW_VALUES;
use serde_json::Value;
use strict_json::{AtMost, problem_in_line};

/// Whether a text could be a list.
pub(super) fn is_list(text: &str) -> bool {
    let text = text.trim();
    text.starts_with('[') && text.ends_with(']')
}

/// The list that a text holds, or what is wrong with it: `is not JSON: …`.
pub(super) fn list(text: &str) -> Result<Vec<Value>, String> {
    match AtMost(MAX_ROW_VALUES).of_text(text) {
        Ok(Some(Value::Array(items))) => Ok(items),
        Ok(None) => Err("is text of more than a million values".to_string()),
        _ if is_python(text) => Err(
            "is text as Python prints a list, not JSON; write the column by json.dumps (in pandas: \
             column.map(json.dumps), of numpy arrays first list), or the whole file as JSON lines"
                .to_string(),
        ),
        Ok(_) => Err("is text, not a list".to_string()),
        Err(error) => Err(format!("is text that {}", problem_in_line(&error))),
    }
}

/// The object that a text holds.
pub(super) fn object(text: &str) -> Option<Value> {
    if !text.trim_start().starts_with('{') {
        return None;
    }
    let value = AtMost(MAX_ROW_VALUES).of_text(text).ok()??;
    value.is_object().then_some(value)
}

/// Whether a list of objects begins as Python prints it, with single quotes.
fn is_python(text: &str) -> bool {
    let inner = text.trim().trim_start_matches('[').trim_start();
    inner.starts_with("{'") || inner.starts_with('\'')
}
