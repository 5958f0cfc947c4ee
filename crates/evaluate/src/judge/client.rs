//! Talks to an OpenAI-compatible chat endpoint, with retries, backoff and a deadline. The key goes into the request's
//! header and nowhere else: not into messages, files or debug output.

use super::prompt::JudgePrompt;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::cell::Cell;
use std::time::{Duration, Instant};
use ureq::Agent;

/// A text that is never shown.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Which judge, and how patient to be with it.
#[derive(Clone, Debug)]
pub struct JudgeConfig {
    /// Base URL such as `https://host/v1`, or the full URL of `…/chat/completions`.
    pub url: String,
    pub key: Option<Secret>,
    pub model: String,
    /// Limit for one request.
    pub timeout: Duration,
    /// Attempts after the first.
    pub retries: usize,
    /// Pause before the first retry; doubles each time.
    pub backoff: Duration,
    /// Limit for one verdict with all its retries.
    pub deadline: Duration,
}

impl JudgeConfig {
    pub fn new(url: &str, model: &str, key: Option<Secret>) -> Self {
        Self {
            url: url.to_string(),
            key,
            model: model.to_string(),
            timeout: Duration::from_secs(120),
            retries: 4,
            backoff: Duration::from_secs(1),
            deadline: Duration::from_secs(300),
        }
    }

    /// From `WICK_JUDGE_URL`, `WICK_JUDGE_MODEL` and `WICK_JUDGE_KEY` (optional). None where no URL is set.
    pub fn from_env() -> Result<Option<Self>> {
        let var = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
        let Some(url) = var("WICK_JUDGE_URL") else {
            return Ok(None);
        };
        let model = var("WICK_JUDGE_MODEL").context(
            "WICK_JUDGE_URL is set but WICK_JUDGE_MODEL is not; name the model that shall judge",
        )?;
        Ok(Some(Self::new(
            &url,
            &model,
            var("WICK_JUDGE_KEY").map(Secret),
        )))
    }

    fn endpoint(&self) -> String {
        let url = self.url.trim_end_matches('/');
        if url.ends_with("/chat/completions") {
            url.to_string()
        } else {
            format!("{url}/chat/completions")
        }
    }
}

/// What came of asking.
pub enum Reply {
    Text(String),
    /// No reply to this question, and why. The next question may go better.
    Failed(String),
}

enum Attempt {
    Text(String),
    /// Worth another try, after at least the given pause when the server named one.
    Retry(String, Option<Duration>),
    GiveUp(String),
}

pub struct Client {
    pub config: JudgeConfig,
    agent: Agent,
    /// The server has answered at least once.
    reached: Cell<bool>,
}

impl Client {
    pub fn new(config: JudgeConfig) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .build()
            .new_agent();
        Self {
            config,
            agent,
            reached: Cell::new(false),
        }
    }

    /// Asks at temperature 0. An error means that no question can be judged (wrong key, wrong URL, unknown model).
    pub fn ask(&self, prompt: &JudgePrompt) -> Result<Reply> {
        let begun = Instant::now();
        let mut pause = self.config.backoff;
        for attempt in 0.. {
            let left = self.config.deadline.saturating_sub(begun.elapsed());
            let (why, at_least) = match self.attempt(prompt, left.min(self.config.timeout))? {
                Attempt::Text(text) => return Ok(Reply::Text(text)),
                Attempt::GiveUp(why) => return Ok(Reply::Failed(why)),
                Attempt::Retry(why, at_least) => (why, at_least),
            };
            let wait = at_least.map_or(pause, |at_least| at_least.max(pause));
            let late = wait >= self.config.deadline.saturating_sub(begun.elapsed());
            if attempt == self.config.retries || late {
                if !self.reached.get() {
                    bail!("the judge at WICK_JUDGE_URL cannot be reached: {why}");
                }
                return Ok(Reply::Failed(why));
            }
            std::thread::sleep(wait);
            pause = (pause * 2).min(Duration::from_secs(30));
        }
        unreachable!("the loop ends at the last retry")
    }

    fn attempt(&self, prompt: &JudgePrompt, timeout: Duration) -> Result<Attempt> {
        let body = json!({
            "model": self.config.model,
            "temperature": 0,
            "max_tokens": 2048,
            "messages": [
                { "role": "system", "content": prompt.system },
                { "role": "user", "content": prompt.user },
            ],
        });
        let mut request = self
            .agent
            .post(self.config.endpoint())
            .config()
            .timeout_global(Some(timeout))
            .build();
        if let Some(Secret(key)) = &self.config.key {
            request = request.header("Authorization", format!("Bearer {key}"));
        }
        let mut response = match request.send_json(&body) {
            Ok(response) => response,
            Err(e @ (ureq::Error::BadUri(_) | ureq::Error::Http(_))) => {
                bail!(
                    "WICK_JUDGE_URL or WICK_JUDGE_KEY cannot be used: {}",
                    self.redact(&e.to_string())
                )
            }
            Err(e) => {
                // A server that accepts and does not answer in time is there; one that refuses is not.
                if matches!(e, ureq::Error::Timeout(_)) {
                    self.reached.set(true);
                }
                return Ok(Attempt::Retry(self.redact(&e.to_string()), None));
            }
        };
        self.reached.set(true);
        let status = response.status().as_u16();
        let pause = response.headers().get("retry-after");
        let pause = pause.and_then(|v| v.to_str().ok()?.trim().parse().ok());
        let text = match response.body_mut().read_to_string() {
            Ok(text) => text,
            Err(e) => return Ok(Attempt::Retry(self.redact(&e.to_string()), None)),
        };
        let why = || {
            let start: String = text.chars().take(200).collect();
            self.redact(&format!("HTTP {status}: {}", start.replace('\n', " ")))
        };
        match status {
            200 => Ok(match content(&text) {
                Some(content) => Attempt::Text(content),
                None => {
                    Attempt::Retry("the reply holds no choices[0].message.content".into(), None)
                }
            }),
            401 | 403 | 404 => bail!(
                "the judge refuses ({}); check WICK_JUDGE_URL, WICK_JUDGE_KEY and WICK_JUDGE_MODEL",
                why()
            ),
            408 | 409 | 429 | 500.. => Ok(Attempt::Retry(why(), pause.map(Duration::from_secs))),
            _ => Ok(Attempt::GiveUp(why())),
        }
    }

    /// Servers sometimes quote the key they refuse.
    fn redact(&self, text: &str) -> String {
        match &self.config.key {
            Some(Secret(key)) if !key.is_empty() => text.replace(key, "(key)"),
            _ => text.to_string(),
        }
    }
}

fn content(body: &str) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    let content = body.pointer("/choices/0/message/content")?;
    content.as_str().map(str::to_string)
}
