//! Numbers and truths as data files write them: also as texts.

use serde_json::Value;

/// A finite number, or one in a string.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => text.trim().parse().ok().filter(|n: &f64| n.is_finite()),
        other => other.as_f64(),
    }
}

/// True or false, also as a text of any case, or as 1 or 0.
pub(super) fn truth(value: &Value) -> Option<bool> {
    let text = value.as_str().map(|text| text.trim().to_lowercase());
    match (value, text.as_deref(), number(value)) {
        (Value::Bool(truth), ..) => Some(*truth),
        (_, Some("true"), _) | (.., Some(1.0)) => Some(true),
        (_, Some("false"), _) | (.., Some(0.0)) => Some(false),
        _ => None,
    }
}
