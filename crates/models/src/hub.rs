//! Base models from the Hugging Face hub, through hf-hub and its cache. A model that is complete in
//! the cache needs no network.
//! Honours HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_CACHE and HF_HUB_OFFLINE as huggingface_hub does.

use crate::hf_files::read_json;
use crate::hf_shards::shard_names;
use crate::hub_file::{Failure, Repository};
use crate::peft::ADAPTER_CONFIG;
use crate::{Error, Result};
use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, CacheRepo};
use std::io::Read;
use std::path::PathBuf;

const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// Fetched if the repository has them.
const OPTIONAL: [&str; 6] = [
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "generation_config.json",
    "chat_template.jinja",
    "chat_template.json",
];

/// A longer list of a repository's files is refused.
const MAX_LISTING_BYTES: u64 = 16 << 20;

/// What the hub says of a repository.
#[derive(serde::Deserialize)]
struct Listing {
    siblings: Vec<Sibling>,
}

/// A file of it.
#[derive(serde::Deserialize)]
struct Sibling {
    rfilename: String,
}

/// Which files of a hub model are fetched if they are not in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// config.json, tokenizer.json and the optional files beside them.
    Shape,
    /// Those and the weights.
    Whole,
}

/// Where models are fetched from, and where they are cached.
#[derive(Clone)]
pub struct Hub {
    /// The hub's URL.
    pub endpoint: String,
    /// Sent to the hub, for gated models.
    pub token: Option<String>,
    /// hf-hub's cache.
    pub cache_dir: PathBuf,
    /// Use only the cache.
    pub offline: bool,
}

impl std::fmt::Debug for Hub {
    /// Without the token.
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Hub")
            .field("endpoint", &self.endpoint)
            .field("cache_dir", &self.cache_dir)
            .field("offline", &self.offline)
            .finish_non_exhaustive()
    }
}

impl Hub {
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
                return Err(Error::Input(
                    "no directory for the hub's cache: set HF_HOME".into(),
                ));
            }
        };
        let endpoint = var("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
        Ok(Self {
            endpoint: endpoint.trim_end_matches('/').to_string(),
            token: var("HF_TOKEN").or_else(|| Cache::new(cache_dir.clone()).token()),
            cache_dir,
            offline: var("HF_HUB_OFFLINE").is_some_and(|v| !matches!(v.as_str(), "0" | "false")),
        })
    }

    /// The cache directory of one revision of a model `org/name`. Fetches what is missing, weights
    /// last, so that a directory with all its weights is complete.
    pub fn fetch(&self, id: &str, what: Fetch) -> Result<PathBuf> {
        // if the cache had an older revision of some files, the first round finds the new one
        for _ in 0..2 {
            if let Some(dir) = self.fetch_revision(id, what)? {
                return Ok(dir);
            }
        }
        Err(Error::Input(format!(
            "model {id} changed on the hub while it was fetched; run again"
        )))
    }

    /// `None` where the files are of more than one revision.
    fn fetch_revision(&self, id: &str, what: Fetch) -> Result<Option<PathBuf>> {
        let cache = Cache::new(self.cache_dir.clone()).model(id.to_string());
        if let Some(dir) = cached(&cache, what)? {
            return Ok(Some(dir));
        }
        if self.offline {
            return Err(Error::Input(format!(
                "model {id} is not in the cache {} and HF_HUB_OFFLINE is set",
                self.cache_dir.display()
            )));
        }
        let api = ApiBuilder::from_cache(Cache::new(self.cache_dir.clone()))
            .with_endpoint(self.endpoint.clone())
            .with_token(self.token.clone())
            .build()
            .map_err(|e| self.explain(id, &e))?;
        let repo = Repository::new(api, id, cache, self.token.clone());
        let listing = self.listing(id, &repo.repo)?;
        let has = |name: &str| listing.siblings.iter().any(|s| s.rfilename == name);
        let get = |name: &str| self.get(id, &repo, name);

        if has(ADAPTER_CONFIG) && !has(CONFIG) {
            return Err(Error::Input(format!(
                "model {id} is a PEFT adapter; fetch it with `hf download {id} --local-dir DIR` and give \
                 DIR"
            )));
        }
        for name in [CONFIG, TOKENIZER] {
            if !has(name) {
                return Err(Error::Input(format!("model {id} has no {name} on the hub")));
            }
        }
        let config = get(CONFIG)?;
        for name in OPTIONAL.into_iter().filter(|name| has(name)) {
            get(name)?;
        }
        get(TOKENIZER)?;
        if what == Fetch::Shape {
            // everything is there
        } else if has(WEIGHTS) {
            get(WEIGHTS)?;
        } else if has(INDEX) {
            let index = get(INDEX)?;
            for shard in shard_names(&index, &read_json(&index)?.unwrap_or_default())? {
                get(&shard)?;
            }
        } else {
            return Err(Error::Input(format!(
                "model {id} has no safetensors weights on the hub"
            )));
        }
        Ok(cached(&repo.cache, what)?.filter(|dir| config.starts_with(dir)))
    }

    /// The files of a repository. Its length is limited after decompression, which hf-hub's own
    /// reader does not do.
    fn listing(&self, id: &str, repo: &ApiRepo) -> Result<Listing> {
        let failed = |e| self.explain(id, &ApiError::RequestError(Box::new(e)));
        let mut response = repo.info_request().call().map_err(failed)?;
        let mut text = Vec::new();
        let mut body = response.body_mut().as_reader().take(MAX_LISTING_BYTES + 1);
        let wrong = |why: String| Error::Input(format!("model {id}: {}: {why}", self.endpoint));
        let read = body.read_to_end(&mut text);
        read.map_err(|e| wrong(e.to_string()))?;
        if text.len() as u64 > MAX_LISTING_BYTES {
            let mib = MAX_LISTING_BYTES >> 20;
            return Err(wrong(format!("its list of files has more than {mib} MiB")));
        }
        serde_json::from_slice(&text).map_err(|e| wrong(format!("its list of files: {e}")))
    }

    fn get(&self, id: &str, repo: &Repository, name: &str) -> Result<PathBuf> {
        repo.get(name).map_err(|failure| {
            Error::Input(match failure {
                Failure::Hub(e) => format!("{} (fetching {name})", self.explain(id, &e)),
                Failure::File(why) => format!("model {id}: {name}: {why}"),
            })
        })
    }

    fn explain(&self, id: &str, error: &ApiError) -> Error {
        let at = &self.endpoint;
        let status = match error {
            ApiError::RequestError(e) => match **e {
                ureq::Error::StatusCode(code) => Some(code),
                _ => None,
            },
            _ => None,
        };
        Error::Input(match status {
            Some(401) => format!(
                "model {id}: {at} answers 401: it does not exist, or it is private or gated; set HF_TOKEN to a token that may read it"
            ),
            Some(403) => format!(
                "model {id}: {at} answers 403: HF_TOKEN may not read it; accept its licence on the hub first"
            ),
            Some(404) => {
                format!(
                    "model {id}: {at} answers 404: no such model, and no such directory here{}",
                    here(id)
                )
            }
            Some(code) => format!("model {id}: {at} answers {code}; try again later"),
            None => {
                let text = error.to_string();
                let line = text.lines().next().unwrap_or_default();
                format!(
                    "model {id} is not a directory here{} and cannot be fetched from {at}: {line}",
                    here(id)
                )
            }
        })
    }
}

/// The snapshot directory, if all requested files are in the cache.
fn cached(cache: &CacheRepo, what: Fetch) -> Result<Option<PathBuf>> {
    let (Some(config), Some(_)) = (cache.get(CONFIG), cache.get(TOKENIZER)) else {
        return Ok(None);
    };
    let whole = match (cache.get(WEIGHTS), cache.get(INDEX)) {
        _ if what == Fetch::Shape => true,
        (Some(_), _) => true,
        (None, Some(index)) => shard_names(&index, &read_json(&index)?.unwrap_or_default())?
            .iter()
            .all(|shard| cache.get(shard).is_some()),
        (None, None) => false,
    };
    Ok(config
        .parent()
        .filter(|_| whole)
        .map(|dir| dir.to_path_buf()))
}

/// Where a directory of this name would be.
fn here(id: &str) -> String {
    std::path::absolute(id).map_or(String::new(), |path| format!(" ({})", path.display()))
}
