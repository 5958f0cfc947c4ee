//! The engine as transformers sets it up: syntax, functions, Python's methods and `json.dumps`.

use super::BoundedOutput;
use super::limits::{Limit, bound};
use super::strftime::strftime;
use super::tags::{FILTER, Tags};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error, ErrorKind};
use serde::Serialize;

/// `secs`: the time of `strftime_now`, seconds since 1970.
pub(super) fn environment(secs: u64, limit: Limit, tags: Tags) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_syntax(
        SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .expect("the ordinary delimiters"),
    );
    environment.set_unknown_method_callback(move |state, value, method, arguments| {
        limit.check(method, &[std::slice::from_ref(value), arguments].concat())?;
        minijinja_contrib::pycompat::unknown_method_callback(state, value, method, arguments)
    });
    environment.add_function(
        "raise_exception",
        |message: String| -> std::result::Result<(), _> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        },
    );
    environment.add_function("strftime_now", move |format: String| {
        strftime(&format, secs).map_err(|what| Error::new(ErrorKind::InvalidOperation, what))
    });
    environment.add_filter("tojson", move |value: &Value, options: Kwargs| {
        to_json(value, options, limit)
    });
    environment.add_filter(FILTER, move |text: String| tags.around(text));
    bound(&mut environment, limit);
    environment
}

/// `json.dumps(value, ensure_ascii=False, indent=indent)`. Other options are an error.
fn to_json(value: &Value, options: Kwargs, limit: Limit) -> std::result::Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let ascii: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    if ascii == Some(true) {
        let what = "tojson: ensure_ascii=true is not supported";
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
            let style = serde_json::ser::PrettyFormatter::with_indent(spaces.as_bytes());
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

impl serde_json::ser::Formatter for PythonStyle {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        w: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { w.write_all(b", ") }
    }
    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        w: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { w.write_all(b", ") }
    }
    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, w: &mut W) -> std::io::Result<()> {
        w.write_all(b": ")
    }
}
