//! The engine as transformers sets it up: syntax, functions, Python's methods and `json.dumps`.

use super::floats::float_text;
use super::json::to_json;
use super::limits::{Limit, bound};
use super::strftime::strftime;
use super::tags::{FILTER, Tags};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error, ErrorKind};

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
    environment.set_formatter(|out, state, value| match float_text(value) {
        Some(text) => Ok(out.write_str(&text)?),
        None => minijinja::escape_formatter(out, state, value),
    });
    environment.add_filter(FILTER, move |text: String| tags.around(text));
    bound(&mut environment, limit);
    environment
}
