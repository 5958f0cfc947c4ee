//! The judge's endpoint: an OpenAI-compatible chat API.

use super::prompt::JudgePrompt;
use anyhow::{Context, Result, bail};
use rewards::external::{Endpoint, Failure, Secret};
use serde_json::{Value, json};
use std::time::Duration;

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

/// The result of one request.
pub enum Reply {
    Text(String),
    /// No reply to this question, and why. Other questions may succeed.
    Failed(String),
}

pub struct Client {
    pub config: JudgeConfig,
    endpoint: Endpoint,
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
        Self { config, endpoint }
    }

    /// Asks at temperature 0.
    ///
    /// # Errors
    /// If no question can be judged (wrong key, wrong URL, unknown model).
    pub fn ask(&self, prompt: &JudgePrompt) -> Result<Reply> {
        let body = json!({
            "model": self.config.model,
            "temperature": 0,
            "max_tokens": 2048,
            "messages": [
                { "role": "system", "content": prompt.system },
                { "role": "user", "content": prompt.user },
            ],
        });
        match self.endpoint.post(&body, content) {
            Ok(text) => Ok(Reply::Text(text)),
            Err(Failure::Failed(why)) => Ok(Reply::Failed(why)),
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
}

fn content(reply: &Value) -> std::result::Result<String, String> {
    let content = reply.pointer("/choices/0/message/content");
    let content = content.and_then(Value::as_str).map(str::to_string);
    content.ok_or_else(|| "the reply has no choices[0].message.content".to_string())
}
