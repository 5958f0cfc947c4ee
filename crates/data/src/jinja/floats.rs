//! Floats as Python writes them, in texts and in JSON.

use minijinja::Value;

/// Python's `repr` of a float: `1.0`, `1e+16`, `1e-07`, `inf`.
pub(super) fn float(value: f64) -> String {
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific.to_lowercase(); // inf, -inf, NaN
    };
    let exponent: i32 = exponent.parse().expect("a number");
    match exponent {
        -4..16 => format!("{value:?}"),
        _ => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
    }
}

/// The text of a value that is a float.
pub(super) fn float_text(value: &Value) -> Option<String> {
    let is_float = value.is_number() && !value.is_integer();
    let number = is_float.then(|| f64::try_from(value.clone()).ok());
    number.flatten().map(float)
}
