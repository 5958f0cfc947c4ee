//! The engine as transformers sets it up: syntax, functions, Python's methods and `json.dumps`.
//! Filters and formats that allocate what a number asks for are bounded.

use super::strftime::strftime;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Rest, Value, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State, filters};
use serde::Serialize;

/// Largest width that a filter or format accepts.
const MAX_WIDTH: i64 = 100_000;

/// `secs`: the time of `strftime_now`, seconds since 1970.
pub(super) fn environment(secs: u64) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_syntax(
        SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .expect("the ordinary delimiters"),
    );
    environment.set_unknown_method_callback(|state, value, method, arguments| {
        if let ("format", Some(text)) = (method, value.as_str()) {
            check_widths(text)?;
        }
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
    environment.add_filter("tojson", to_json);
    // the originals, under names that no template can write
    environment.add_filter("bounded slice", filters::slice);
    environment.add_filter("bounded batch", filters::batch);
    environment.add_filter("bounded indent", filters::indent);
    environment.add_filter("bounded format", filters::format);
    for (name, filter) in [
        ("slice", "bounded slice"),
        ("batch", "bounded batch"),
        ("indent", "bounded indent"),
    ] {
        environment.add_filter(
            name,
            move |state: &mut State, arguments: Rest<ValueOrKwargs>| {
                bounded(state, filter, &arguments.into_values())
            },
        );
    }
    environment.add_filter(
        "format",
        |state: &mut State, arguments: Rest<ValueOrKwargs>| {
            let arguments = arguments.into_values();
            let text = arguments.first().and_then(Value::as_str);
            text.map_or(Ok(()), check_widths)?;
            state.apply_filter("bounded format", &arguments)
        },
    );
    environment
}

/// Applies a filter whose numbers are widths of at most [`MAX_WIDTH`].
fn bounded(
    state: &mut State,
    filter: &str,
    arguments: &[Value],
) -> std::result::Result<Value, Error> {
    for argument in arguments.iter().skip(1) {
        let named = Kwargs::try_from(argument.clone()).ok();
        let named = named.iter().flat_map(|named| {
            let name = named.args().map(|name| named.get::<Value>(name));
            name.collect::<Vec<_>>()
        });
        for value in named.flatten().chain([argument.clone()]) {
            if value.is_number() && value.as_i64().is_none_or(|n| n > MAX_WIDTH) {
                return Err(too_wide(&value.to_string()));
            }
        }
    }
    state.apply_filter(filter, arguments)
}

/// Refuses a format with a width of more than [`MAX_WIDTH`].
fn check_widths(format: &str) -> std::result::Result<(), Error> {
    let mut numbers = format.split(|c: char| !c.is_ascii_digit());
    match numbers.find(|digits| digits.len() > 5) {
        Some(width) => Err(too_wide(width)),
        None => Ok(()),
    }
}

fn too_wide(width: &str) -> Error {
    let what = format!("a width of {width} is more than the limit of {MAX_WIDTH}");
    Error::new(ErrorKind::InvalidOperation, what)
}

/// `json.dumps(value, ensure_ascii=False, indent=indent)`. Other options are an error.
fn to_json(value: &Value, options: Kwargs) -> std::result::Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let ascii: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    if ascii == Some(true) {
        let what = "tojson: ensure_ascii=true is not supported";
        return Err(Error::new(ErrorKind::InvalidOperation, what));
    }
    let mut bytes = Vec::new();
    let written = match indent {
        Some(n) if n > 64 => {
            let what = format!("tojson: an indent of {n} is more than 64");
            return Err(Error::new(ErrorKind::InvalidOperation, what));
        }
        Some(n) => {
            let spaces = " ".repeat(n);
            let style = serde_json::ser::PrettyFormatter::with_indent(spaces.as_bytes());
            value.serialize(&mut serde_json::Serializer::with_formatter(
                &mut bytes, style,
            ))
        }
        None => value.serialize(&mut serde_json::Serializer::with_formatter(
            &mut bytes,
            PythonStyle,
        )),
    };
    let text = written.map(|()| String::from_utf8_lossy(&bytes).into_owned());
    let text = text.map_err(|e| Error::new(ErrorKind::InvalidOperation, format!("tojson: {e}")))?;
    Ok(Value::from_safe_string(text))
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
