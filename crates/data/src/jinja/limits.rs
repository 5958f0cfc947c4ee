//! Limits on the output of one filter or method of a template. Most return a text hardly longer
//! than their input. The others (`replace`, `join`, `indent`, formats, and all that print lists)
//! multiply it, so the size of their result is computed first.
//!
//! Operators (`~`, `+`, `*`) and `{% set %}` blocks belong to the engine, which offers no hook for
//! them. The limit on memory stops them.

use super::floats::float_text;
use minijinja::value::{Kwargs, Rest, Value, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State, filters};
use std::fmt::Write;

/// Largest width that a filter or format accepts.
const MAX_WIDTH: i64 = 100_000;

/// The longest list that a filter accepts. A conversation has a thousand turns.
const MAX_ITEMS: usize = 1 << 20;

/// Filters that turn what they are given into text.
const WRITERS: [&str; 10] = [
    "capitalize",
    "e",
    "escape",
    "lines",
    "lower",
    "safe",
    "split",
    "title",
    "trim",
    "upper",
];

/// The longest text that a filter or a method may make, bytes.
#[derive(Clone, Copy)]
pub(super) struct Limit(pub usize);

/// Registers the filters under their names with the limit, and under `bounded NAME`, which no
/// template can write, as they are.
macro_rules! bound_filters {
    ($environment:ident, $limit:ident: $($name:ident)+) => {$({
        const NAME: &str = stringify!($name);
        const ORIGINAL: &str = concat!("bounded ", stringify!($name));
        $environment.add_filter(ORIGINAL, filters::$name);
        $environment.add_filter(
            NAME,
            move |state: &mut State, arguments: Rest<ValueOrKwargs>| {
                let arguments = arguments.into_values();
                $limit.check(NAME, &arguments)?;
                state.apply_filter(ORIGINAL, &arguments)
            },
        );
    })+};
}

/// Puts the limit around the filters that make texts or lists.
pub(super) fn bound(environment: &mut Environment<'static>, limit: Limit) {
    bound_filters!(environment, limit:
        batch capitalize chain dictsort escape format groupby indent items join lines list lower map
        max min reject rejectattr replace reverse safe select selectattr slice sort split sum title
        trim unique upper zip);
    environment.add_filter(
        "e",
        move |state: &mut State, arguments: Rest<ValueOrKwargs>| {
            let arguments = arguments.into_values();
            limit.check("e", &arguments)?;
            state.apply_filter("bounded escape", &arguments)
        },
    );
    environment.add_filter("string", move |value: &Value| match value.as_str() {
        Some(_) => Ok(value.clone()),
        None => match float_text(value) {
            Some(text) => Ok(text.into()),
            None => limit.written("string", format_args!("{value}")),
        },
    });
    environment.add_filter("pprint", move |value: &Value| {
        limit.written("pprint", format_args!("{value:#?}"))
    });
}

impl Limit {
    /// Refuses a call of a filter or method, whose first argument is what it is applied to, that
    /// would make a text longer than the limit, or that is given one or a list without end.
    pub fn check(self, name: &str, arguments: &[Value]) -> Result<(), Error> {
        for argument in arguments {
            match (argument.as_str(), argument.len()) {
                (Some(text), _) if text.len() > self.0 => return Err(self.too_long(name)),
                (None, Some(n)) if n > MAX_ITEMS => {
                    let what = format!("{name}: a list of {n} items; the limit is {MAX_ITEMS}");
                    return Err(invalid(what));
                }
                _ => {}
            }
        }
        let n_bytes = match name {
            "replace" => self.replaced(arguments),
            "join" => self.joined(arguments),
            "slice" | "batch" => {
                check_widths(arguments)?;
                Some(0)
            }
            "indent" => {
                check_widths(arguments)?;
                self.indented(arguments)
            }
            "format" => self.formatted(arguments)?,
            _ if WRITERS.contains(&name) => self.length_of_all(arguments),
            _ => Some(0),
        };
        match n_bytes.filter(|n| *n <= self.0) {
            Some(_) => Ok(()),
            None => Err(self.too_long(name)),
        }
    }

    /// The error of a text beyond the limit.
    pub fn too_long(self, name: &str) -> Error {
        let limit = self.0;
        invalid(format!("{name}: a text of more than {limit} bytes"))
    }

    /// The text, written up to the limit.
    fn written(self, name: &str, text: std::fmt::Arguments) -> Result<Value, Error> {
        let mut out = Bounded {
            text: Some(String::new()),
            n_left: self.0,
        };
        let written = out.write_fmt(text);
        written.map_err(|_| self.too_long(name))?;
        Ok(Value::from(out.text.unwrap_or_default()))
    }

    /// Bytes of a value as text. `None`: more than the limit.
    fn length(self, value: &Value) -> Option<usize> {
        if let Some(text) = value.as_str() {
            return Some(text.len());
        }
        let mut out = Bounded {
            text: None,
            n_left: self.0,
        };
        write!(out, "{value}").ok()?;
        Some(self.0 - out.n_left)
    }

    fn length_of_all(self, values: &[Value]) -> Option<usize> {
        values
            .iter()
            .try_fold(0usize, |sum, value| sum.checked_add(self.length(value)?))
    }

    fn replaced(self, arguments: &[Value]) -> Option<usize> {
        let n_all = self.length_of_all(arguments)?;
        let [text, from, to, ..] = arguments else {
            return Some(n_all);
        };
        // a value that is not a text is printed
        let (text, from) = (text.to_string(), from.to_string());
        let n_found = text.matches(from.as_str()).count();
        n_found.checked_mul(self.length(to)?)?.checked_add(n_all)
    }

    /// The filter has the list first, the method the separator.
    fn joined(self, arguments: &[Value]) -> Option<usize> {
        let n_all = self.length_of_all(arguments)?;
        let lists = arguments.iter().filter(|value| value.as_str().is_none());
        let n_items = lists.filter_map(Value::len).max().unwrap_or(0);
        let named = arguments.last().and_then(|last| named(last, "d"));
        let texts = arguments.iter().chain(&named).filter_map(Value::as_str);
        let separator = texts.map(str::len).max().unwrap_or(0);
        n_items.checked_mul(separator)?.checked_add(n_all)
    }

    fn indented(self, arguments: &[Value]) -> Option<usize> {
        let n_all = self.length_of_all(arguments)?;
        let n_lines = arguments.first()?.to_string().matches('\n').count() + 1;
        let named = arguments.last().and_then(|last| named(last, "width"));
        let width = arguments.get(1).into_iter().chain(&named);
        let width = width.filter_map(Value::as_usize).max().unwrap_or(4);
        n_lines.checked_mul(width)?.checked_add(n_all)
    }

    /// Each field may be as wide as the largest number, or as all arguments together.
    fn formatted(self, arguments: &[Value]) -> Result<Option<usize>, Error> {
        let Some(format) = arguments.first().and_then(Value::as_str) else {
            return Ok(Some(0));
        };
        let mut numbers = format.split(|c: char| !c.is_ascii_digit());
        if let Some(width) = numbers.find(|digits| digits.len() > 5) {
            return Err(too_wide(width));
        }
        let numbers = format.split(|c: char| !c.is_ascii_digit());
        let widest = numbers.filter_map(|digits| digits.parse::<usize>().ok());
        let widest = widest.max().unwrap_or(0);
        if format.contains('*') || format.contains(":{") {
            check_widths(arguments)?;
        }
        let largest = arguments.iter().filter_map(Value::as_usize);
        let widest = widest.max(largest.max().unwrap_or(0).min(MAX_WIDTH as usize));
        let n_fields = format.matches(['%', '{']).count();
        let size = || {
            let field = self.length_of_all(arguments)?.max(widest);
            n_fields.checked_mul(field)?.checked_add(format.len())
        };
        Ok(size())
    }
}

/// Counts what is written, and keeps it if there is a text, up to a number of bytes.
struct Bounded {
    text: Option<String>,
    n_left: usize,
}

impl Write for Bounded {
    fn write_str(&mut self, piece: &str) -> std::fmt::Result {
        self.n_left = self
            .n_left
            .checked_sub(piece.len())
            .ok_or(std::fmt::Error)?;
        if let Some(text) = &mut self.text {
            text.push_str(piece);
        }
        Ok(())
    }
}

/// A named argument.
fn named(arguments: &Value, name: &str) -> Option<Value> {
    let arguments = Kwargs::try_from(arguments.clone()).ok()?;
    arguments.get::<Value>(name).ok()
}

/// Refuses numbers, named ones included, that are more than [`MAX_WIDTH`].
fn check_widths(arguments: &[Value]) -> Result<(), Error> {
    for argument in arguments.iter().skip(1) {
        let named = Kwargs::try_from(argument.clone()).ok();
        let named = named.iter().flat_map(|named| {
            let values = named.args().map(|name| named.get::<Value>(name));
            values.collect::<Vec<_>>()
        });
        for value in named.flatten().chain([argument.clone()]) {
            if value.is_number() && value.as_i64().is_none_or(|n| n > MAX_WIDTH) {
                return Err(too_wide(&value.to_string()));
            }
        }
    }
    Ok(())
}

fn too_wide(width: &str) -> Error {
    invalid(format!(
        "a width of {width} is more than the limit of {MAX_WIDTH}"
    ))
}

fn invalid(what: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, what)
}
