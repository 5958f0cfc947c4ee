//! Why a request or a file failed, before it is put into a user's words.

use std::time::{Duration, SystemTime};
use ureq::http::{HeaderMap, Response};

/// Why something was not fetched.
#[derive(Debug)]
pub enum Failure {
    /// The hub refuses, or cannot answer now.
    Status(Status),
    /// No usable answer came: the transport's words, one line.
    Transport(String),
    /// The file or the disk, in words that follow the file's name.
    File(String),
}

/// An answer that is an error.
#[derive(Clone, Debug)]
pub struct Status {
    /// HTTP's number.
    pub code: u16,
    /// The hub's own name of the error, `GatedRepo` for example.
    pub error_code: Option<String>,
    /// How long the hub asks to wait.
    pub retry_after: Option<Duration>,
}

impl Status {
    /// The status of an answer.
    pub(crate) fn of<T>(response: &Response<T>) -> Self {
        let headers = response.headers();
        Self {
            code: response.status().as_u16(),
            error_code: text(headers, "x-error-code").map(String::from),
            retry_after: text(headers, "retry-after").and_then(wait),
        }
    }

    /// Whether the same request may be answered later.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self.code, 429 | 500 | 502 | 503 | 504)
    }
}

/// A header, if it is there and is text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Retry-After: seconds, or a date.
fn wait(value: &str) -> Option<Duration> {
    if let Ok(secs) = value.trim().parse() {
        return Some(Duration::from_secs(secs));
    }
    let then = httpdate::parse_http_date(value.trim()).ok()?;
    Some(then.duration_since(SystemTime::now()).unwrap_or_default())
}
