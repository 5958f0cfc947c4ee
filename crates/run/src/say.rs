//! Lines for people on standard error. The only place that writes there: a reader that is gone or a
//! disk that is full never ends a run, as `eprintln!` would.

use crate::redact::redact;
use std::fmt::Display;
use std::io::Write;

/// Writes one line to standard error, without secrets and control characters.
///
/// An error is ignored: there is nobody to tell.
pub fn say(line: impl Display) {
    let line = printable(&line.to_string());
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Formats its arguments like `eprintln!` and writes them with [`say`](fn@crate::say).
#[macro_export]
macro_rules! say {
    ($($argument:tt)*) => { $crate::say(::std::format_args!($($argument)*)) };
}

/// The text as one line that is safe on a terminal: without secrets, and with every control
/// character escaped. Text of a model, a server or a file may hold any.
///
/// ```
/// assert_eq!(run::printable("a\u{1b}[31mb\nc"), "a\\u{1b}[31mb c");
/// ```
pub fn printable(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in redact(text).trim_end().chars() {
        match c {
            '\n' | '\t' => line.push(' '),
            '\r' => {}
            c if c.is_control() || is_direction(c) => line.extend(c.escape_default()),
            c => line.push(c),
        }
    }
    line
}

/// Characters that reorder the text around them.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
