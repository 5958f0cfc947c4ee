//! `json.dumps(value, ensure_ascii=False, indent=indent)`: Python's separators and floats.

use super::BoundedOutput;
use super::floats::float;
use super::limits::Limit;
use minijinja::value::{Kwargs, Value};
use minijinja::{Error, ErrorKind};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter};
use std::io::{Result, Write};

/// The text. Other options than `indent` and `ensure_ascii=False` are an error.
pub(super) fn to_json(
    value: &Value,
    options: Kwargs,
    limit: Limit,
) -> std::result::Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let ascii: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    if ascii == Some(true) {
        let what = "tojson: ensure_ascii=true is not supported";
        return Err(Error::new(ErrorKind::InvalidOperation, what));
    }
    if value.is_undefined() {
        let what = "tojson: the value is undefined";
        return Err(Error::new(ErrorKind::InvalidOperation, what));
    }
    let mut out = BoundedOutput::new(limit.0);
    let written = match indent {
        Some(n) if n > 64 => {
            let what = format!("tojson: an indent of {n} is more than 64");
            return Err(Error::new(ErrorKind::InvalidOperation, what));
        }
        Some(n) => {
            let spaces = " ".repeat(n);
            let style = IndentedStyle(PrettyFormatter::with_indent(spaces.as_bytes()));
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, style))
        }
        None => value.serialize(&mut serde_json::Serializer::with_formatter(
            &mut out,
            PythonStyle,
        )),
    };
    written.map_err(|e| match e.is_io() {
        true => limit.too_long("tojson"),
        false => Error::new(ErrorKind::InvalidOperation, format!("tojson: {e}")),
    })?;
    Ok(Value::from_safe_string(out.into_text()))
}

/// Python's separators, `", "` and `": "`.
struct PythonStyle;

impl Formatter for PythonStyle {
    fn write_f64<W: ?Sized + Write>(&mut self, w: &mut W, value: f64) -> Result<()> {
        w.write_all(float(value).as_bytes())
    }
    fn begin_array_value<W: ?Sized + Write>(&mut self, w: &mut W, first: bool) -> Result<()> {
        if first { Ok(()) } else { w.write_all(b", ") }
    }
    fn begin_object_key<W: ?Sized + Write>(&mut self, w: &mut W, first: bool) -> Result<()> {
        if first { Ok(()) } else { w.write_all(b", ") }
    }
    fn begin_object_value<W: ?Sized + Write>(&mut self, w: &mut W) -> Result<()> {
        w.write_all(b": ")
    }
}

/// With line breaks and an indent, which serde_json writes as Python does.
struct IndentedStyle<'a>(PrettyFormatter<'a>);

impl Formatter for IndentedStyle<'_> {
    fn write_f64<W: ?Sized + Write>(&mut self, w: &mut W, value: f64) -> Result<()> {
        w.write_all(float(value).as_bytes())
    }
    fn begin_array<W: ?Sized + Write>(&mut self, w: &mut W) -> Result<()> {
        self.0.begin_array(w)
    }
    fn end_array<W: ?Sized + Write>(&mut self, w: &mut W) -> Result<()> {
        self.0.end_array(w)
    }
    fn begin_array_value<W: ?Sized + Write>(&mut self, w: &mut W, first: bool) -> Result<()> {
        self.0.begin_array_value(w, first)
    }
    fn end_array_value<W: ?Sized + Write>(&mut self, w: &mut W) -> Result<()> {
        self.0.end_array_value(w)
    }
    fn begin_object<W: ?Sized + Write>(&mut self, w: &mut W) -> Result<()> {
        self.0.begin_object(w)
    }
    fn end_object<W: ?Sized + Write>(&mut self, w: &mut W) -> Result<()> {
        self.0.end_object(w)
    }
    fn begin_object_key<W: ?Sized + Write>(&mut self, w: &mut W, first: bool) -> Result<()> {
        self.0.begin_object_key(w, first)
    }
    fn begin_object_value<W: ?Sized + Write>(&mut self, w: &mut W) -> Result<()> {
        self.0.begin_object_value(w)
    }
    fn end_object_value<W: ?Sized + Write>(&mut self, w: &mut W) -> Result<()> {
        self.0.end_object_value(w)
    }
}
