//! The judge's endpoint: an OpenAI-compatible chat API.

use super::prompt::JudgePrompt;
use anyhow::{Context, Result, bail};
use rewards::external::{Endpoint, Failure, Secret};
use serde_json::{Value, json};
use std::cell::Cell;
use std::time::Duration;

/// Longest reply, in the judge's tokens.
const MAX_TOKENS: usize = 2048;

/// The judge's endpoint and model, with time limits.
#[derive(Clone, Debug)]
pub struct JudgeConfig {
    /// Base URL such as `https://host/v1`, or the full URL of `…/chat/completions`.
    pub url: String,
    pub key: Option<Secret>,
    pub model: String,
    /// Time limit of one request.
    pub timeout: Duration,
    /// Attempts after the first.
    pub retries: usize,
    /// Pause before the first retry, doubled each time.
    pub backoff: Duration,
    /// Time limit of one verdict with all its retries.
    pub deadline: Duration,
}

impl JudgeConfig {
    /// A judge with the default time limits.
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

    /// From `WICK_JUDGE_URL`, `WICK_JUDGE_MODEL` and `WICK_JUDGE_KEY` (optional); `None` without a
    /// URL.
    pub fn from_env() -> Result<Option<Self>> {
        let var = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
        let Some(url) = var("WICK_JUDGE_URL") else {
            return Ok(None);
        };
        let model = var("WICK_JUDGE_MODEL").context(
            "WICK_JUDGE_URL is set but WICK_JUDGE_MODEL is not; set it to the judge's model",
        )?;
        Ok(Some(Self::new(
            &url,
            &model,
            var("WICK_JUDGE_KEY").map(Secret::new),
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

/// The parameters of a request that servers and models disagree on.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Dialect {
    /// The name of the length limit, if it may be given
    max_tokens: Option<&'static str>,
    /// Whether the temperature may be set, to 0
    temperature: bool,
}

/// In the order of preference. Reasoning models refuse `max_tokens`, a temperature, or both.
const DIALECTS: [Dialect; 5] = [
    dialect(Some("max_tokens"), true),
    dialect(Some("max_completion_tokens"), true),
    dialect(Some("max_completion_tokens"), false),
    dialect(Some("max_tokens"), false),
    dialect(None, false),
];

const fn dialect(max_tokens: Option<&'static str>, temperature: bool) -> Dialect {
    Dialect {
        max_tokens,
        temperature,
    }
}

/// The result of one request.
pub enum Reply {
    Text {
        text: String,
        /// It ended at the length limit
        cut: bool,
    },
    /// No reply to this question, and why. Other questions may succeed.
    Failed(String),
}

pub struct Client {
    pub config: JudgeConfig,
    endpoint: Endpoint,
    /// The one that the judge has accepted, if it has accepted any
    accepted: Cell<Option<Dialect>>,
}

impl Client {
    pub fn new(config: JudgeConfig) -> Self {
        let endpoint = Endpoint::new(
            config.endpoint(),
            config.key.clone(),
            config.timeout,
            config.retries,
            config.backoff,
            config.deadline,
        );
        Self {
            config,
            endpoint,
            accepted: Cell::new(None),
        }
    }

    /// Asks at temperature 0, if the judge lets us. A judge that refuses a parameter is asked again
    /// without it, or by its other name.
    ///
    /// # Errors
    /// If no question can be judged (wrong key, wrong URL, unknown model).
    pub fn ask(&self, prompt: &JudgePrompt) -> Result<Reply> {
        if let Some(dialect) = self.accepted.get() {
            return reply(self.endpoint.post(&self.body(prompt, dialect), content));
        }
        let mut first_refusal = None;
        for dialect in DIALECTS {
            let result = self.endpoint.post(&self.body(prompt, dialect), content);
            match result {
                Err(Failure::Rejected(why)) => {
                    first_refusal.get_or_insert(Failure::Rejected(why));
                }
                Ok(_) => {
                    self.accept(dialect);
                    return reply(result);
                }
                Err(_) => return reply(result),
            }
        }
        reply(Err(first_refusal.expect("every dialect was refused")))
    }

    /// Uses this dialect from now on, and says what differs from what was asked for.
    fn accept(&self, dialect: Dialect) {
        self.accepted.set(Some(dialect));
        if !dialect.temperature {
            run::say!(
                "the judge refuses a temperature of 0; it judges at its own, so verdicts may vary"
            );
        }
        if dialect.max_tokens.is_none() {
            run::say!("the judge refuses a length limit; the length of its replies is not limited");
        }
    }

    fn body(&self, prompt: &JudgePrompt, dialect: Dialect) -> Value {
        let mut body = json!({
            "model": self.config.model,
            "messages": [
                { "role": "system", "content": prompt.system },
                { "role": "user", "content": prompt.user },
            ],
        });
        if let Some(name) = dialect.max_tokens {
            body[name] = MAX_TOKENS.into();
        }
        if dialect.temperature {
            body["temperature"] = 0.into();
        }
        body
    }
}

fn reply(result: std::result::Result<(String, bool), Failure>) -> Result<Reply> {
    match result {
        Ok((text, cut)) => Ok(Reply::Text { text, cut }),
        Err(Failure::Failed(why) | Failure::Rejected(why)) => Ok(Reply::Failed(why)),
        Err(Failure::Unreachable(why)) => {
            bail!("the judge at WICK_JUDGE_URL cannot be reached: {why}")
        }
        Err(Failure::Unusable(why)) => {
            bail!("WICK_JUDGE_URL or WICK_JUDGE_KEY cannot be used: {why}")
        }
        Err(Failure::Refused(why)) => bail!(
            "the judge refuses ({why}); check WICK_JUDGE_URL, WICK_JUDGE_KEY and WICK_JUDGE_MODEL"
        ),
    }
}

/// A reply's text, and whether it ended at the length limit. The text may be a list of parts.
fn content(reply: &Value) -> std::result::Result<(String, bool), String> {
    let choice = reply.pointer("/choices/0");
    let content = choice.and_then(|choice| choice.pointer("/message/content"));
    let text = match content {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Array(parts)) => {
            let texts = parts.iter().filter_map(|part| part["text"].as_str());
            Some(texts.collect())
        }
        _ => None,
    };
    let text = text.ok_or("the reply has no text in choices[0].message.content")?;
    let cut = choice.is_some_and(|choice| choice["finish_reason"] == "length");
    Ok((text, cut))
}
