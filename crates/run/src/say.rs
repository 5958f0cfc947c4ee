//! Lines for people on standard error. The only place that writes there: a reader that is gone or a
//! disk that is full never ends a run, as `eprintln!` would.

use crate::redact::redact;
use std::fmt::Display;
use std::io::Write;

/// The most characters of a line, and how many are kept of the end of a longer one. A file may have
/// names and values of any length, and any number of them.
const MOST: usize = 4000;
const END: usize = 500;

/// Writes one line to standard error, without secrets and control characters.
///
/// An error is ignored: there is nobody to tell.
pub fn say(line: impl Display) {
    let line = printable(&line.to_string());
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn shortened(line: String) -> String {
    let n = line.chars().count();
    if n <= MOST {
        return line;
    }
    let begin: String = line.chars().take(MOST - END).collect();
    let end: String = line.chars().skip(n - END).collect();
    format!("{begin} … ({} more characters) … {end}", n - MOST)
}

/// Formats its arguments like `eprintln!` and writes them with [`say`](fn@crate::say).
#[macro_export]
macro_rules! say {
    ($($argument:tt)*) => { $crate::say(::std::format_args!($($argument)*)) };
}

/// The text as one line that is safe on a terminal: without secrets, and with every control
/// character escaped. Text of a model, a server or a file may hold any. Of more than 4,000
/// characters the middle is left out.
///
/// ```
/// assert_eq!(run::printable("a\u{1b}[31mb\nc"), "a\\u{1b}[31mb c");
/// let long = run::printable(&format!("{} what to do", "x".repeat(5_000)));
/// assert!(long.contains("xx … (1011 more characters) … xx") && long.ends_with("what to do"));
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
    shortened(line)
}

/// Characters that reorder the text around them.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
