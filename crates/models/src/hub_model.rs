//! Base models from the Hugging Face hub. A model that is complete in the hub's cache needs no
//! network.

use crate::hf_files::{self, read_json};
use crate::hf_shards::shard_names;
use crate::peft::ADAPTER_CONFIG;
use crate::{Error, Result};
use hub::{ContentHash, Expected, Failure, HubSettings, RepoCache, Repository};
use std::path::PathBuf;

const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// Fetched if the repository has them.
const OPTIONAL: [&str; 7] = [
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "generation_config.json",
    "chat_template.jinja",
    "chat_template.json",
    "additional_chat_templates/tool_use.jinja",
];

/// A longer list of a repository's files is refused.
const MAX_LISTING_BYTES: u64 = 16 << 20;

/// What the hub says of a repository.
#[derive(serde::Deserialize)]
struct Listing {
    /// The commit that has these files
    #[serde(default)]
    sha: String,
    siblings: Vec<Sibling>,
}

/// A file of it.
#[derive(serde::Deserialize)]
struct Sibling {
    rfilename: String,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(serde::Deserialize)]
struct Lfs {
    sha256: Option<String>,
}

impl Listing {
    fn file(&self, name: &str) -> Option<&Sibling> {
        self.siblings.iter().find(|file| file.rfilename == name)
    }

    /// The hash of a file, if the hub says it.
    fn hash(&self, name: &str) -> Option<ContentHash> {
        let file = self.file(name)?;
        match &file.lfs {
            Some(lfs) => ContentHash::of_hub(Some(lfs.sha256.as_deref()?), None),
            None => ContentHash::of_hub(None, file.blob_id.as_deref()),
        }
    }
}

/// Which files of a hub model are fetched if they are not in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// config.json, tokenizer.json and the optional files beside them.
    Shape,
    /// Those and the weights.
    Whole,
}

/// The cache directory of one revision of a model `org/name`. Fetches what is missing, weights
/// last, so that a directory with all its weights is complete.
pub fn fetch_model(hub: &HubSettings, id: &str, what: Fetch) -> Result<PathBuf> {
    // if the cache had an older revision of some files, the first round finds the new one
    for _ in 0..2 {
        if let Some(dir) = fetch_revision(hub, id, what)? {
            return Ok(dir);
        }
    }
    Err(Error::Input(format!(
        "model {id} changed on the hub while it was fetched; run again"
    )))
}

/// `None` where the files are of more than one revision.
fn fetch_revision(hub: &HubSettings, id: &str, what: Fetch) -> Result<Option<PathBuf>> {
    let repo = Repository::model(hub, id);
    if let Some(dir) = cached(&repo.cache, what)? {
        return Ok(Some(dir));
    }
    if hub.offline {
        return Err(Error::Input(format!(
            "model {id} is not in the cache {} and HF_HUB_OFFLINE is set",
            hub.cache_dir.display()
        )));
    }
    let listing = listing(hub, id, &repo)?;
    let has = |name: &str| listing.file(name).is_some();
    let get = |name: &str| get((hub, id), &repo, &listing, name);

    if has(ADAPTER_CONFIG) && !has(CONFIG) {
        return Err(Error::Input(format!(
            "model {id} is a PEFT adapter; fetch it with `hf download {id} --local-dir DIR` and \
             give DIR"
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

/// The files of a repository.
fn listing(hub: &HubSettings, id: &str, repo: &Repository) -> Result<Listing> {
    let wrong = |why: String| {
        let at = hub.shown_endpoint();
        Error::Input(format!("model {id}: {at}: {why}"))
    };
    let text = repo
        .info_with_hashes(MAX_LISTING_BYTES)
        .map_err(|failure| match failure {
            Failure::File(why) => wrong(why),
            failure => Error::Input(explain(hub, id, &failure)),
        })?;
    if text.len() as u64 > MAX_LISTING_BYTES {
        let mib = MAX_LISTING_BYTES >> 20;
        return Err(wrong(format!("its list of files has more than {mib} MiB")));
    }
    serde_json::from_slice(&text).map_err(|e| wrong(format!("its list of files: {e}")))
}

/// A file in the cache, fetched if it is not there. Settings, which are read whole, have at most as
/// many bytes as their reader accepts.
fn get(
    (hub, id): (&HubSettings, &str),
    repo: &Repository,
    listing: &Listing,
    name: &str,
) -> Result<PathBuf> {
    let is_weights = name.ends_with(".safetensors");
    let max_bytes = (!is_weights).then_some(hf_files::MAX_BYTES);
    let (hash, commit) = (listing.hash(name), listing.sha.as_str());
    let expected = hash.as_ref().map(|hash| Expected { commit, hash });
    repo.get(name, max_bytes, expected).map_err(|failure| {
        Error::Input(match failure {
            Failure::File(why) => format!("model {id}: {name}: {why}"),
            failure => format!("{} (fetching {name})", explain(hub, id, &failure)),
        })
    })
}

fn explain(hub: &HubSettings, id: &str, failure: &Failure) -> String {
    let at = hub.shown_endpoint();
    let status = match failure {
        Failure::Status(status) => status.code,
        Failure::Transport(line) | Failure::File(line) => {
            return format!(
                "model {id} is not a directory here{} and cannot be fetched from {at}: {line}",
                here(id)
            );
        }
    };
    match status {
        401 => format!(
            "model {id}: {at} answers 401: it does not exist, or it is private or gated; set \
             HF_TOKEN to a token that may read it"
        ),
        403 => format!(
            "model {id}: {at} answers 403: HF_TOKEN may not read it; accept its licence on the hub \
             first"
        ),
        404 => format!(
            "model {id}: {at} answers 404: no such model, and no such directory here{}",
            here(id)
        ),
        code => format!("model {id}: {at} answers {code}; try again later"),
    }
}

/// The snapshot directory, if all requested files are in the cache.
fn cached(cache: &RepoCache, what: Fetch) -> Result<Option<PathBuf>> {
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
