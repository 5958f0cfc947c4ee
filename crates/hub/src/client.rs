//! Requests to the hub. The token goes to the hub's own origin only, wherever redirects lead. What
//! may pass (429, 5xx, a connection that breaks) is tried again a few times.

use crate::HubSettings;
use crate::failure::{Failure, Status, text};
use std::io::{ErrorKind, Write};
use std::time::Duration;
use ureq::http::Response;
use ureq::tls::{TlsConfig, TlsProvider};
use ureq::{Agent, Body};
use url::Url;

/// A request is sent so often at most.
const MAX_TRIES: u32 = 5;
/// A longer wait is the user's decision.
const MAX_WAIT: Duration = Duration::from_secs(300);
const MAX_REDIRECTS: usize = 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Without a byte for so long a connection is taken to be broken.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// What the hub says of a file before it is fetched.
pub(crate) struct Metadata {
    pub commit: String,
    pub etag: String,
    pub n_bytes: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Method {
    Get,
    Head,
}

/// A hub, and who asks.
pub(crate) struct Client {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
    retry_wait: Duration,
}

impl Client {
    pub fn new(settings: &HubSettings) -> Self {
        let tls = TlsConfig::builder().provider(TlsProvider::Rustls).build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_per_read(Some(READ_TIMEOUT))
            .user_agent(concat!("wick/", env!("CARGO_PKG_VERSION")));
        Self {
            agent: config.build().into(),
            endpoint: settings.endpoint.clone(),
            token: settings.token.clone(),
            retry_wait: settings.retry_wait,
        }
    }

    /// The answer to a request, which is no error and no redirect.
    pub fn get(&self, url: &str, headers: &[(&str, &str)]) -> Result<Response<Body>, Failure> {
        Ok(self.call(Method::Get, url, headers)?.1)
    }

    /// A file's revision, tag and length, from the hub itself, not from where it stores files.
    pub fn metadata(&self, url: &str) -> Result<Metadata, Failure> {
        // Not compressed: the length is that of the file.
        let headers = [("accept-encoding", "identity")];
        let (at, response) = self.call(Method::Head, url, &headers)?;
        let header = |name: &str| text(response.headers(), name).map(str::trim);
        let missing = |name: &str| {
            let at = "so this is no hub; check HF_ENDPOINT and proxies";
            Failure::Transport(format!("Header {name} is missing, {at}"))
        };
        let etag = header("x-linked-etag").or_else(|| header("etag"));
        let etag = etag.ok_or_else(|| missing("etag"))?;
        let commit = header("x-repo-commit").ok_or_else(|| missing("x-repo-commit"))?;
        let (etag, commit) = (plain_tag(etag), commit.to_string());
        let is_final = !response.status().is_redirection();
        let length = match (header("x-linked-size"), header("content-length")) {
            (Some(length), _) => Some(length.to_string()),
            (None, length) if is_final => length.map(String::from),
            // The place where the file is stored knows it.
            _ => {
                let to = header("location").ok_or_else(|| missing("location"))?;
                let (_, stored) = self.call(Method::Head, &joined(&at, to)?, &headers)?;
                text(stored.headers(), "content-length").map(String::from)
            }
        };
        let length = length.ok_or_else(|| missing("content-length"))?;
        let n_bytes = (length.parse())
            .map_err(|_| Failure::Transport(format!("a file's length is {length:?}, no number")))?;
        Ok(Metadata {
            commit,
            etag,
            n_bytes,
        })
    }

    /// How long to wait before try `n_tries + 1`; None: no more tries.
    pub fn wait_after(&self, n_tries: u32, asked: Option<Duration>) -> Option<Duration> {
        let wait = asked.unwrap_or(self.retry_wait * 2u32.pow(n_tries - 1));
        (n_tries < MAX_TRIES && wait <= MAX_WAIT).then_some(wait)
    }

    /// Waits, and says so.
    pub fn pause(&self, why: &str, wait: Duration) {
        if wait >= Duration::from_secs(1) {
            // Standard error may be closed; eprintln! would panic then.
            let secs = wait.as_secs();
            let _ = writeln!(std::io::stderr(), "hub: {why}; trying again in {secs} s");
        }
        std::thread::sleep(wait);
    }

    /// The answer and its URL.
    fn call(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
    ) -> Result<(String, Response<Body>), Failure> {
        let mut n_tries = 0;
        loop {
            n_tries += 1;
            let (failure, asked) = match self.follow(method, url, headers) {
                Ok((_, answer)) if answer.status().as_u16() >= 400 => {
                    let status = Status::of(&answer);
                    match status.may_pass() {
                        true => (Failure::Status(status.clone()), status.retry_after),
                        false => return Err(Failure::Status(status)),
                    }
                }
                Err((failure, may_pass)) if may_pass => (failure, None),
                Err((failure, _)) => return Err(failure),
                Ok(answer) => return Ok(answer),
            };
            let Some(wait) = self.wait_after(n_tries, asked) else {
                return Err(failure);
            };
            let why = match &failure {
                Failure::Status(status) => format!("the hub answers {}", status.code),
                Failure::Transport(why) | Failure::File(why) => why.clone(),
            };
            self.pause(&why, wait);
        }
    }

    /// Follows redirects: all of a GET; of a HEAD those within the hub, and those that do not say
    /// what it asks. An error comes with whether it may pass.
    fn follow(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
    ) -> Result<(String, Response<Body>), (Failure, bool)> {
        let mut at = url.to_string();
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.send(method, &at, headers).map_err(|e| {
                let text = format!("request error: {e}");
                let line = text.lines().next().unwrap_or_default().to_string();
                (Failure::Transport(line), is_broken(&e))
            })?;
            let location = text(answer.headers(), "location");
            let Some(to) = location.filter(|_| answer.status().is_redirection()) else {
                return Ok((at, answer));
            };
            let to = joined(&at, to).map_err(|failure| (failure, false))?;
            let is_told = answer.headers().contains_key("x-repo-commit");
            if method == Method::Head && is_told && !self.is_own(&to) {
                return Ok((at, answer));
            }
            at = to;
        }
        let text = format!("more than {MAX_REDIRECTS} redirects");
        Err((Failure::Transport(text), false))
    }

    fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
    ) -> Result<Response<Body>, ureq::Error> {
        let mut request = match method {
            Method::Get => self.agent.get(url),
            Method::Head => self.agent.head(url),
        };
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = self.token.as_ref().filter(|_| self.is_own(url)) {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        request.call()
    }

    /// Whether a URL has the hub's scheme, host and port.
    fn is_own(&self, url: &str) -> bool {
        match (Url::parse(&self.endpoint), Url::parse(url)) {
            (Ok(hub), Ok(url)) => hub.origin() == url.origin(),
            _ => false,
        }
    }
}

/// A location relative to the URL that named it.
fn joined(at: &str, location: &str) -> Result<String, Failure> {
    let joined = Url::parse(at).and_then(|at| at.join(location));
    let joined = joined.map_err(|e| Failure::Transport(format!("a redirect's location: {e}")))?;
    Ok(joined.to_string())
}

/// A tag without its quotes and its mark of weakness.
fn plain_tag(etag: &str) -> String {
    etag.trim_start_matches("W/").trim_matches('"').to_string()
}

/// Whether the connection broke, or nothing came, after it had been made.
fn is_broken(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(e) => matches!(
            e.kind(),
            ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::UnexpectedEof
                | ErrorKind::TimedOut
        ),
        ureq::Error::Timeout(_) => true,
        _ => false,
    }
}
