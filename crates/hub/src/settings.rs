//! Where the hub is, who asks, and where its files are cached. Honours HF_ENDPOINT, HF_TOKEN,
//! HF_HOME, HF_HUB_CACHE and HF_HUB_OFFLINE as huggingface_hub does.

use crate::{Error, Result};
use hf_hub::Cache;
use std::path::PathBuf;
use std::time::Duration;

const ENDPOINT: &str = "https://huggingface.co";
const RETRY_WAIT: Duration = Duration::from_secs(1);

/// Where repositories are fetched from, and where they are cached.
#[derive(Clone)]
pub struct HubSettings {
    /// The hub's URL.
    pub endpoint: String,
    /// Sent to the hub, and to no other host, for gated and private repositories.
    pub token: Option<String>,
    /// The cache, in huggingface_hub's layout.
    pub cache_dir: PathBuf,
    /// Use only the cache.
    pub offline: bool,
    /// The wait before a request is sent again after a failure that may pass. It doubles each time.
    /// Where the hub says how long to wait, that holds.
    pub retry_wait: Duration,
}

impl std::fmt::Debug for HubSettings {
    /// Without the token.
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("HubSettings")
            .field("endpoint", &self.shown_endpoint())
            .field("cache_dir", &self.cache_dir)
            .field("offline", &self.offline)
            .finish_non_exhaustive()
    }
}

impl HubSettings {
    /// From the environment.
    pub fn from_env() -> Result<Self> {
        Self::from_vars(|name| std::env::var(name).ok())
    }

    /// From environment variables, looked up by name.
    pub fn from_vars(var: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let var = |name: &str| var(name).filter(|v| !v.trim().is_empty());
        let cache_dir = match (var("HF_HUB_CACHE"), var("HF_HOME"), var("HOME")) {
            (Some(dir), _, _) => PathBuf::from(dir),
            (None, Some(home), _) => PathBuf::from(home).join("hub"),
            (None, None, Some(home)) => PathBuf::from(home).join(".cache/huggingface/hub"),
            (None, None, None) => {
                return Err(Error(
                    "no directory for the hub's cache: set HF_HOME".into(),
                ));
            }
        };
        let endpoint = var("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.into());
        Ok(Self {
            endpoint: endpoint.trim_end_matches('/').to_string(),
            token: var("HF_TOKEN").or_else(|| Cache::new(cache_dir.clone()).token()),
            cache_dir,
            offline: var("HF_HUB_OFFLINE").is_some_and(|v| !matches!(v.as_str(), "0" | "false")),
            retry_wait: RETRY_WAIT,
        })
    }

    /// The endpoint for messages: without a user's name and password.
    pub fn shown_endpoint(&self) -> String {
        match url::Url::parse(&self.endpoint) {
            Ok(mut url) if url.has_authority() && url.password().is_some() => {
                let _ = url.set_password(None);
                let _ = url.set_username("");
                url.as_str().trim_end_matches('/').to_string()
            }
            _ => self.endpoint.clone(),
        }
    }
}
