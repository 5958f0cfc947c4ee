//! A data set at one revision: its commit and the list of its files, from the cache or the hub.

use super::converted::CONVERTED;
use super::explain::explain;
use super::spec::DatasetSpec;
use crate::cache::is_commit;
use crate::repository::{Expected, Repository};
use crate::tree::{Tree, TreeFile, is_plain_path};
use crate::{Error, Failure, HubSettings, Result, Status};
use hf_hub::{Repo, RepoType};
use std::collections::HashSet;
use std::path::PathBuf;

/// A longer answer of the hub is refused.
const MAX_ANSWER_BYTES: u64 = 16 << 20;
/// With a thousand files each.
const MAX_PAGES: usize = 1000;

/// Where revisions and lists of files come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Source {
    Cache,
    Hub,
}

/// A data set at a revision.
pub(super) struct Branch {
    pub revision: String,
    pub commit: String,
    pub tree: Tree,
    /// Whether the list is of the files in the cache only, of whatever the commit has.
    pub is_cached_part: bool,
    /// The repository at the commit.
    pub repo: Repository,
}

#[derive(serde::Deserialize)]
struct Info {
    sha: String,
}

/// The repository of a data set at a revision or commit.
fn repository(spec: &DatasetSpec, hub: &HubSettings, revision: &str) -> Repository {
    let (id, revision) = (spec.id.clone(), revision.to_string());
    Repository::new(hub, Repo::with_revision(id, RepoType::Dataset, revision))
}

impl Branch {
    /// The revision; None where it does not exist, or is not in the cache.
    pub fn find(
        spec: &DatasetSpec,
        hub: &HubSettings,
        revision: &str,
        source: Source,
    ) -> Result<Option<Self>> {
        match source {
            Source::Cache => Ok(Self::in_cache(spec, hub, revision)),
            Source::Hub => Self::of_hub(spec, hub, revision),
        }
    }

    fn in_cache(spec: &DatasetSpec, hub: &HubSettings, revision: &str) -> Option<Self> {
        let commit = repository(spec, hub, revision).cache.commit()?;
        let repo = repository(spec, hub, &commit);
        let (tree, is_cached_part) = match repo.cache.tree(&commit) {
            Some(tree) => (tree, false),
            None => (repo.cache.cached_files(&commit), true),
        };
        (!tree.files.is_empty()).then(|| Self {
            revision: revision.to_string(),
            commit,
            tree,
            is_cached_part,
            repo,
        })
    }

    fn of_hub(spec: &DatasetSpec, hub: &HubSettings, revision: &str) -> Result<Option<Self>> {
        let named = repository(spec, hub, revision);
        let what = format!("revision {revision}");
        let failed = |failure| explain(spec, hub, &what, failure);
        let text = match named.info(MAX_ANSWER_BYTES) {
            Err(Failure::Status(s)) if s.code == 404 && is_missing(&s, revision) => {
                return Ok(None);
            }
            text => text.map_err(failed)?,
        };
        let info: Info = parsed(&text).map_err(|why| failed(Failure::Transport(why)))?;
        let commit = info.sha;
        if !is_plain_path(&commit) || commit.contains('/') {
            let why = format!("its commit is {commit:?}");
            return Err(failed(Failure::Transport(why)));
        }
        let repo = repository(spec, hub, &commit);
        let tree = match repo.cache.tree(&commit).filter(|_| is_commit(&commit)) {
            Some(tree) => tree,
            None => list(&repo).map_err(|failure| explain(spec, hub, "list of files", failure))?,
        };
        let kept =
            (repo.cache.keep_tree(&commit, &tree)).and_then(|()| named.cache.set_commit(&commit));
        kept.map_err(|e| {
            let dir = hub.cache_dir.display();
            Error(format!("{spec}: cannot write into the cache {dir}: {e}"))
        })?;
        Ok(Some(Self {
            revision: revision.to_string(),
            commit,
            tree,
            is_cached_part: false,
            repo,
        }))
    }

    /// The place of a file in the cache, after it was fetched.
    pub fn fetch(
        &self,
        path: &str,
        max_bytes: Option<u64>,
    ) -> std::result::Result<(PathBuf, String), Failure> {
        let hash = self.tree.get(path).and_then(TreeFile::hash);
        let commit = self.commit.as_str();
        let expected = hash.as_ref().map(|hash| Expected { commit, hash });
        self.repo.fetch(path, max_bytes, expected)
    }

    /// The file in the cache, if it is there.
    pub fn cached(&self, path: &str) -> Option<PathBuf> {
        let file = self.repo.cache.snapshot(&self.commit).join(path);
        file.exists().then_some(file)
    }
}

/// Whether a 404 is of the revision, not of the data set. Where it does not say, few data sets have
/// the parquet branch, and the question for the main one follows.
fn is_missing(status: &Status, revision: &str) -> bool {
    match &status.error_code {
        Some(name) => name == "RevisionNotFound",
        None => revision == CONVERTED,
    }
}

/// All files of a repository's commit.
fn list(repo: &Repository) -> std::result::Result<Tree, Failure> {
    let (mut files, mut next) = (Vec::new(), Some(repo.tree_url()));
    let mut seen = HashSet::new();
    while let Some(url) = next {
        if !seen.insert(url.clone()) {
            let why = format!("page {} of it links back to an earlier one", seen.len());
            return Err(Failure::Transport(why));
        }
        if seen.len() > MAX_PAGES {
            let why = format!("it has more than {MAX_PAGES} pages");
            return Err(Failure::Transport(why));
        }
        let (text, following) = repo.read(&url, MAX_ANSWER_BYTES)?;
        let page = check(&text).and_then(|()| Tree::page(&text).map_err(|e| not_json(&text, e)));
        files.extend(page.map_err(Failure::Transport)?);
        next = following;
    }
    let tree = Tree::new(files);
    if let Some(name) = tree.impossible_name() {
        let why = format!("it names {name:?}, which is no path in a repository");
        return Err(Failure::Transport(why));
    }
    if let Some(name) = tree.repeated_name() {
        let why = format!("it names {name:?} twice");
        return Err(Failure::Transport(why));
    }
    Ok(tree)
}

fn parsed<T: serde::de::DeserializeOwned>(text: &[u8]) -> std::result::Result<T, String> {
    check(text)?;
    serde_json::from_slice(text).map_err(|e| not_json(text, e))
}

fn check(text: &[u8]) -> std::result::Result<(), String> {
    match text.len() as u64 > MAX_ANSWER_BYTES {
        true => Err(format!(
            "the answer has more than {} MiB",
            MAX_ANSWER_BYTES >> 20
        )),
        false => Ok(()),
    }
}

fn not_json(text: &[u8], error: serde_json::Error) -> String {
    match text.trim_ascii_start().first() {
        Some(b'<') => {
            "the answer is a web page, not JSON, so this is no hub or a login page; check \
                       HF_ENDPOINT and proxies"
                .to_string()
        }
        _ => format!("the answer is not the JSON of a hub: {error}"),
    }
}
