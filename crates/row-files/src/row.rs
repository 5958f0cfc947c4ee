//! A row and its bounds.

use serde_json::{Map, Value};

/// A row: values by field name, in the order of the file.
pub type Object = Map<String, Value>;

/// The longest line, and the most text of a row. No context holds that much: 16 MiB of English are
/// four million tokens.
pub const MAX_ROW_BYTES: usize = 16 << 20;

/// The most values of a row: its lists, objects, texts and numbers. Each takes 72 bytes and more,
/// however short its text is.
pub const MAX_ROW_VALUES: usize = 1_000_000;

/// Why a row is dropped that is larger.
pub const TOO_BIG: &str = "longer than 16 MiB, or of more than a million values";

/// A value's type in words.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
