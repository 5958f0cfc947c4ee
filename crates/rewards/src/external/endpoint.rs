//! A web server that answers POST requests of JSON, with retries, back-off and a deadline. The key
//! goes into the request's header and nowhere else: not into messages, files or debug output.

use super::foreign_text::printable;
use super::scores::{MAX_REPLY_BYTES, parse};
use serde_json::Value;
use std::cell::Cell;
use std::io::Read;
use std::thread::sleep;
use std::time::{Duration, Instant};
use ureq::Agent;

/// Texts of replies lose no shorter key: as a word it would be part of other texts.
const MIN_KEY_LEN: usize = 8;

/// A text that is never printed.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`, here and in everything that is printed or stored.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        run::hide(&text);
        Self(text)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

/// A server's address, with timeouts and retries.
#[derive(Debug)]
pub struct Endpoint {
    pub url: String,
    /// Sent as `Authorization: Bearer …`
    pub key: Option<Secret>,
    /// Of one request
    pub timeout: Duration,
    /// Attempts after the first
    pub retries: usize,
    /// Pause before the first retry; doubles each time, up to 30 s
    pub backoff: Duration,
    /// Of one answer with all its retries
    pub deadline: Duration,
    agent: Agent,
    /// The server has answered at least once
    reached: Cell<bool>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// The address or the key cannot be used
    Unusable(String),
    /// The server refuses every request: wrong key, wrong address (HTTP 401, 403, 404)
    Refused(String),
    /// The server was never reached
    Unreachable(String),
    /// The server does not accept this request as it is (HTTP 400, 422)
    Rejected(String),
    /// No answer to this request; the next one may succeed
    Failed(String),
}

/// The part of a sentence that follows the server's name.
impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let (what, why) = match self {
            Self::Unusable(why) => ("cannot be asked, its address or key is unusable", why),
            Self::Refused(why) => ("refuses; check its address and key", why),
            Self::Unreachable(why) => ("cannot be reached", why),
            Self::Rejected(why) => ("does not accept the request", why),
            Self::Failed(why) => ("gave no answer", why),
        };
        write!(f, "{what}: {why}")
    }
}

enum Attempt<T> {
    Answer(T),
    /// Worth another attempt, after at least the given pause if the server named one
    Retry(String, Option<Duration>),
    GiveUp(Failure),
}

impl Endpoint {
    /// Connects to nothing yet.
    pub fn new(
        url: String,
        key: Option<Secret>,
        timeout: Duration,
        retries: usize,
        backoff: Duration,
        deadline: Duration,
    ) -> Self {
        let config = Agent::config_builder().http_status_as_error(false);
        Self {
            url,
            key,
            timeout,
            retries,
            backoff,
            deadline,
            agent: config.build().new_agent(),
            reached: Cell::new(false),
        }
    }

    /// Posts `body`. `read` parses the reply; its error counts as a failed attempt.
    pub fn post<T>(
        &self,
        body: &Value,
        read: impl Fn(&Value) -> Result<T, String>,
    ) -> Result<T, Failure> {
        let begun = Instant::now();
        let mut pause = self.backoff;
        for attempt in 0.. {
            let left = self.deadline.saturating_sub(begun.elapsed());
            let (why, at_least) = match self.attempt(body, left.min(self.timeout), &read) {
                Attempt::Answer(answer) => return Ok(answer),
                Attempt::GiveUp(failure) => return Err(failure),
                Attempt::Retry(why, at_least) => (why, at_least),
            };
            let wait = at_least.map_or(pause, |at_least| at_least.max(pause));
            let late = wait >= self.deadline.saturating_sub(begun.elapsed());
            if attempt == self.retries || late {
                return Err(match self.reached.get() {
                    true => Failure::Failed(why),
                    false => Failure::Unreachable(why),
                });
            }
            sleep(wait);
            pause = (pause * 2).min(Duration::from_secs(30));
        }
        unreachable!("the loop ends at the last retry")
    }

    fn attempt<T>(
        &self,
        body: &Value,
        timeout: Duration,
        read: impl Fn(&Value) -> Result<T, String>,
    ) -> Attempt<T> {
        let mut request = self
            .agent
            .post(&self.url)
            .config()
            .timeout_global(Some(timeout))
            .build();
        if let Some(Secret(key)) = &self.key {
            request = request.header("Authorization", format!("Bearer {key}"));
        }
        let mut response = match request.send_json(body) {
            Ok(response) => response,
            Err(e @ (ureq::Error::BadUri(_) | ureq::Error::Http(_))) => {
                return Attempt::GiveUp(Failure::Unusable(self.redact(&e.to_string())));
            }
            Err(e) => {
                // A server that accepts and does not answer in time was reached; one that refuses
                // was not.
                if matches!(e, ureq::Error::Timeout(_)) {
                    self.reached.set(true);
                }
                return Attempt::Retry(self.redact(&e.to_string()), None);
            }
        };
        self.reached.set(true);
        let status = response.status().as_u16();
        let pause = response.headers().get("retry-after");
        let pause = pause.and_then(|v| v.to_str().ok()?.trim().parse().ok());
        let text = match read_text(response.body_mut().as_reader()) {
            Ok(text) => text,
            Err(why) => return Attempt::Retry(self.redact(&why), None),
        };
        // Redact before cutting: a part of a key would not be found.
        let why = || format!("HTTP {status}: {}", printable(&self.redact(&text), 200));
        let answer = || {
            let reply = parse(text.as_bytes());
            let mut reply = reply.map_err(|e| format!("the reply {}", strict_json::problem(&e)))?;
            self.redact_texts(&mut reply); // it may be stored
            read(&reply)
        };
        match status {
            200 => match answer() {
                Ok(answer) => Attempt::Answer(answer),
                Err(why) => Attempt::Retry(self.redact(&why), None),
            },
            400 | 422 => Attempt::GiveUp(Failure::Rejected(why())),
            401 | 403 | 404 => Attempt::GiveUp(Failure::Refused(why())),
            408 | 409 | 429 | 500.. => Attempt::Retry(why(), pause.map(Duration::from_secs)),
            _ => Attempt::GiveUp(Failure::Failed(why())),
        }
    }

    /// Servers sometimes quote the key that they refuse, and errors an address with a key in it.
    fn redact(&self, text: &str) -> String {
        let text = text.replace(&self.url, "(its address)");
        match &self.key {
            Some(Secret(key)) if !key.is_empty() => text.replace(key, "(key)"),
            _ => text,
        }
    }

    /// Cuts the key out of the texts of a reply. The names of its fields stay.
    fn redact_texts(&self, reply: &mut Value) {
        let Some(Secret(key)) = self.key.as_ref().filter(|key| key.0.len() >= MIN_KEY_LEN) else {
            return;
        };
        let mut below = vec![reply];
        while let Some(value) = below.pop() {
            match value {
                Value::String(text) if text.contains(key) => *text = text.replace(key, "(key)"),
                Value::Array(items) => below.extend(items),
                Value::Object(fields) => below.extend(fields.values_mut()),
                _ => {}
            }
        }
    }
}

/// A reply's text, at most [`MAX_REPLY_BYTES`] of it as they are after decompression: a small reply
/// may unpack to gigabytes. Bytes that are no UTF-8 are replaced.
fn read_text(body: impl Read) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = body.take(MAX_REPLY_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|e| e.to_string())?;
    if bytes.len() as u64 > MAX_REPLY_BYTES {
        return Err(format!(
            "the reply has more than {} MiB",
            MAX_REPLY_BYTES >> 20
        ));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
