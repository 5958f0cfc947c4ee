//! Chat templates as transformers runs them (`apply_chat_template`: `trim_blocks`, `lstrip_blocks`, `raise_exception`,
//! `strftime_now`, Python's string methods and `json.dumps`), on minijinja. A template comes with a model from somewhere:
//! it has no loader, so it reads no file, a limit of steps and of time, so it ends, and limits to what it writes, to the memory
//! it takes meanwhile and to the depth of what it nests.

use crate::{Error, Message, Result};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Rest, Serde, Value, ValueOrKwargs};
use minijinja::{Environment, ErrorKind, State, context, filters};
use serde::Serialize;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Instructions of minijinja's machine: a conversation of a thousand turns needs some hundred thousand.
const FUEL: u64 = 1_000_000;

/// The largest templates of models known have some ten thousand bytes.
const MAX_SOURCE_BYTES: usize = 1 << 17;

/// The engine goes into expressions and lists by recursion, as deep as `MAX_SOURCE_BYTES` and `FUEL` let them be: some hundred
/// bytes for each level. Address space alone, until it is used.
const STACK_BYTES: usize = 1 << 30;

/// Of the filters that make as much room as a number says.
const MAX_WIDTH: i64 = 100_000;

/// What a template may write, beside four times the conversation.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// One instruction may go over a long sequence, and texts may be doubled, so steps bound neither time nor memory.
const MAX_TIME: Duration = Duration::from_secs(10);
const MAX_GROWTH_BYTES: u64 = 2 << 30;
/// Until then it is not looked at: rendering takes microseconds, and other threads allocate, too.
const PATIENCE: Duration = Duration::from_millis(250);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Renders in a thread of its own, which is left behind where it goes beyond the limits: the error ends the process soon.
pub(crate) fn render(
    source: &str,
    messages: &[Message],
    bos: &str,
    eos: &str,
    add_generation_prompt: bool,
) -> Result<String> {
    if source.len() > MAX_SOURCE_BYTES {
        return Err(Error(format!(
            "chat template: {} bytes long, more than {MAX_SOURCE_BYTES}",
            source.len()
        )));
    }
    let (source, messages) = (source.to_string(), messages.to_vec());
    let (bos, eos) = (bos.to_string(), eos.to_string());
    let (give, take) = mpsc::sync_channel(1);
    let work = move || {
        let _ = give.send(render_here(
            &source,
            &messages,
            &bos,
            &eos,
            add_generation_prompt,
        ));
    };
    let started = std::thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(work);
    started.map_err(|e| Error(format!("chat template: no thread for it: {e}")))?;
    let (began, before) = (Instant::now(), run::resident_memory_bytes());
    let mut wait = PATIENCE;
    loop {
        match take.recv_timeout(wait) {
            Ok(rendered) => return rendered,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error("chat template: it breaks the template engine".into()));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if began.elapsed() > MAX_TIME {
            let secs = MAX_TIME.as_secs();
            return Err(Error(format!(
                "chat template: does not end within {secs} s"
            )));
        }
        if run::resident_memory_bytes().saturating_sub(before) > MAX_GROWTH_BYTES {
            return Err(Error(
                "chat template: takes more than 2 GiB of memory".into(),
            ));
        }
        wait = LOOK_EVERY;
    }
}

fn render_here(
    source: &str,
    messages: &[Message],
    bos: &str,
    eos: &str,
    add_generation_prompt: bool,
) -> Result<String> {
    let source = without_generation_tags(source);
    let environment = environment();
    let template = environment.template_from_str(&source).map_err(failed)?;
    let values = context! {
        messages => Serde(messages), add_generation_prompt, bos_token => bos, eos_token => eos,
        tools => (), documents => (),
    };
    let asked: usize = messages.iter().map(|m| m.content.len()).sum();
    let mut page = Page {
        bytes: Vec::new(),
        left: MAX_TEXT_BYTES + 4 * asked,
    };
    template
        .render_captured_to(values, &mut page)
        .map_err(failed)?;
    Ok(String::from_utf8_lossy(&page.bytes).into_owned())
}

/// What is rendered, up to a size.
struct Page {
    bytes: Vec<u8>,
    left: usize,
}

impl std::io::Write for Page {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.left = self
            .left
            .checked_sub(text.len())
            .ok_or(std::io::ErrorKind::FileTooLarge)?;
        self.bytes.extend_from_slice(text);
        Ok(text.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_syntax(
        SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .expect("the ordinary delimiters"),
    );
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(|state, value, method, arguments| {
        if let ("format", Some(text)) = (method, value.as_str()) {
            narrow(text)?;
        }
        minijinja_contrib::pycompat::unknown_method_callback(state, value, method, arguments)
    });
    environment.add_function(
        "raise_exception",
        |message: String| -> std::result::Result<(), _> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        },
    );
    environment.add_function("strftime_now", |format: String| strftime(&format, now()));
    environment.add_filter("tojson", to_json);
    // under names that no template can say
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
            text.map_or(Ok(()), narrow)?;
            state.apply_filter("bounded format", &arguments)
        },
    );
    environment
}

/// A filter whose numbers are widths, which must not be beyond [`MAX_WIDTH`].
fn bounded(
    state: &mut State,
    filter: &str,
    arguments: &[Value],
) -> std::result::Result<Value, minijinja::Error> {
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

/// Refuses a format whose widths may be beyond [`MAX_WIDTH`].
fn narrow(format: &str) -> std::result::Result<(), minijinja::Error> {
    let mut numbers = format.split(|c: char| !c.is_ascii_digit());
    match numbers.find(|digits| digits.len() > 5) {
        Some(width) => Err(too_wide(width)),
        None => Ok(()),
    }
}

fn too_wide(width: &str) -> minijinja::Error {
    let what = format!("a width of {width} is more than {MAX_WIDTH}");
    minijinja::Error::new(ErrorKind::InvalidOperation, what)
}

fn failed(error: minijinja::Error) -> Error {
    Error(match error.kind() {
        ErrorKind::OutOfFuel => "chat template: does not end within its limit of steps".into(),
        ErrorKind::WriteFailure => {
            "chat template: writes more than four times the conversation and 1 MiB".into()
        }
        kind => {
            let line = error
                .line()
                .map(|n| format!(" (line {n})"))
                .unwrap_or_default();
            let what = error
                .detail()
                .map_or_else(|| kind.to_string(), str::to_string);
            format!("chat template{line}: {what}")
        }
    })
}

/// `{% generation %}` marks the assistant's tokens for transformers' masks and prints nothing.
fn without_generation_tags(source: &str) -> String {
    let mut text = source.to_string();
    for (tag, block) in [("generation", "if true"), ("endgeneration", "endif")] {
        for (open, close) in [("{%", "%}"), ("{%-", "%}"), ("{%", "-%}"), ("{%-", "-%}")] {
            let from = format!("{open} {tag} {close}");
            text = text.replace(&from, &format!("{open} {block} {close}"));
        }
    }
    text
}

/// `json.dumps(value, ensure_ascii=False, indent=indent)`.
fn to_json(value: &Value, options: Kwargs) -> std::result::Result<Value, minijinja::Error> {
    let indent: Option<usize> = options.get("indent")?;
    let mut bytes = Vec::new();
    let written = match indent {
        Some(n) if n > 64 => {
            let what = format!("tojson: an indent of {n} is more than 64");
            return Err(minijinja::Error::new(ErrorKind::InvalidOperation, what));
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
    let text = text
        .map_err(|e| minijinja::Error::new(ErrorKind::InvalidOperation, format!("tojson: {e}")))?;
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

/// Seconds since 1970, UTC.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}

/// The codes that chat templates use; others stay as they are. UTC, English names.
fn strftime(format: &str, secs: u64) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    const DAYS: [&str; 7] = [
        "Thursday",
        "Friday",
        "Saturday",
        "Sunday",
        "Monday",
        "Tuesday",
        "Wednesday",
    ];
    let days = secs / 86_400;
    let (year, month, day) = civil(days);
    let (month_name, day_name) = (MONTHS[month - 1], DAYS[(days % 7) as usize]);
    let (hour, minute, second) = (secs / 3600 % 24, secs / 60 % 60, secs % 60);
    let mut text = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        match chars.next() {
            Some('Y') => text += &year.to_string(),
            Some('y') => text += &format!("{:02}", year % 100),
            Some('m') => text += &format!("{month:02}"),
            Some('d') => text += &format!("{day:02}"),
            Some('B') => text += month_name,
            Some('b') => text += &month_name[..3],
            Some('A') => text += day_name,
            Some('a') => text += &day_name[..3],
            Some('H') => text += &format!("{hour:02}"),
            Some('M') => text += &format!("{minute:02}"),
            Some('S') => text += &format!("{second:02}"),
            Some('%') => text.push('%'),
            Some(other) => text.extend(['%', other]),
            None => text.push('%'),
        }
    }
    text
}

/// Year, month 1..=12 and day 1..=31 of a day counted from 1970-01-01 (H. Hinnant, "days to civil").
fn civil(days: u64) -> (u64, usize, u64) {
    let z = days + 719_468;
    let day_of_era = z % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let m = (5 * day_of_year + 2) / 153;
    let month = if m < 10 { m + 3 } else { m - 9 };
    let year = z / 146_097 * 400 + year_of_era + u64::from(month <= 2);
    (year, month as usize, day_of_year - (153 * m + 2) / 5 + 1)
}
