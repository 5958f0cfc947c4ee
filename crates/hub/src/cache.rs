//! One repository in the hub's cache, in huggingface_hub's layout: `refs/<revision>` names a
//! commit, `snapshots/<commit>` has its files as links to `blobs/<tag>`, and `trees/<commit>.json`
//! lists all files of the commit, those that were not fetched, too.

use crate::tree::{Tree, TreeFile, is_plain_path};
use hf_hub::{Cache, CacheRepo, Repo};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Larger lists are not read.
const MAX_TREE_BYTES: u64 = 256 << 20;

/// A repository's directory in the cache, at one revision.
pub struct RepoCache {
    cache: Cache,
    repo: Repo,
    at: CacheRepo,
}

impl RepoCache {
    pub(crate) fn new(cache_dir: &Path, repo: Repo) -> Self {
        let cache = Cache::new(cache_dir.to_path_buf());
        let at = cache.repo(repo.clone());
        Self { cache, repo, at }
    }

    /// The file of the revision, if it is in the cache.
    pub fn get(&self, name: &str) -> Option<PathBuf> {
        self.at.get(name)
    }

    /// The commit that the revision was when it was fetched last. A commit is its own revision.
    pub(crate) fn commit(&self) -> Option<String> {
        let revision = self.repo.revision();
        if is_commit(revision) {
            return Some(revision.to_string());
        }
        let file = self.dir().join("refs").join(revision);
        let commit = fs::read_to_string(file).ok()?.trim().to_string();
        (is_plain_path(&commit) && !commit.contains('/')).then_some(commit)
    }

    /// Records the commit of the revision.
    pub(crate) fn set_commit(&self, commit: &str) -> io::Result<()> {
        match self.repo.revision() == commit {
            true => Ok(()),
            false => self.at.create_ref(commit),
        }
    }

    pub(crate) fn blob(&self, tag: &str) -> PathBuf {
        self.at.blob_path(tag)
    }

    /// How many bytes of a file's content are there, under whatever name.
    pub(crate) fn n_there(&self, file: &TreeFile) -> u64 {
        let Some(tag) = file.tag().filter(|tag| is_plain_path(tag)) else {
            return 0;
        };
        let (blob, part) = (self.blob(tag), self.blob(&format!("{tag}.part")));
        let n_bytes = |path: PathBuf| path.metadata().map_or(0, |found| found.len());
        n_bytes(blob).max(n_bytes(part))
    }

    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.at.pointer_path(commit)
    }

    /// The list of a commit's files, if it was kept.
    pub(crate) fn tree(&self, commit: &str) -> Option<Tree> {
        let file = self.tree_file(commit);
        if file.metadata().ok()?.len() > MAX_TREE_BYTES {
            return None;
        }
        Tree::from_cached(&fs::read(file).ok()?)
    }

    /// Keeps the list of a commit's files, for us and for huggingface_hub.
    pub(crate) fn keep_tree(&self, commit: &str, tree: &Tree) -> io::Result<()> {
        write(&self.tree_file(commit), tree.to_cached().as_bytes())
    }

    fn tree_file(&self, commit: &str) -> PathBuf {
        self.dir().join("trees").join(format!("{commit}.json"))
    }

    /// The files of a commit that are in the cache.
    pub(crate) fn cached_files(&self, commit: &str) -> Tree {
        let root = self.snapshot(commit);
        let mut files = Vec::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            for path in entries.map(|entry| entry.path()) {
                // Links lead to blobs: a folder is a folder itself.
                if path.is_dir() && !path.is_symlink() {
                    folders.push(path);
                } else if let Ok(metadata) = path.metadata()
                    && let Some(name) = path.strip_prefix(&root).ok().and_then(Path::to_str)
                {
                    files.push(TreeFile::new(name, metadata.len()));
                }
            }
        }
        Tree::new(files)
    }

    /// Whether the hub said that a commit has no such file, as huggingface_hub records it.
    pub(crate) fn is_known_missing(&self, commit: &str, name: &str) -> bool {
        self.missing_file(commit, name).exists()
    }

    /// Records that a commit has no such file.
    pub(crate) fn set_missing(&self, commit: &str, name: &str) -> io::Result<()> {
        write(&self.missing_file(commit, name), b"")
    }

    fn missing_file(&self, commit: &str, name: &str) -> PathBuf {
        self.dir().join(".no_exist").join(commit).join(name)
    }

    fn dir(&self) -> PathBuf {
        self.cache.path().join(self.repo.folder_name())
    }
}

/// Whether a revision is a whole commit hash.
pub(crate) fn is_commit(revision: &str) -> bool {
    let is_hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    revision.len() == 40 && revision.bytes().all(is_hex)
}

/// Gives a blob its name in a snapshot, by a relative link as in huggingface_hub's cache. `n_deep`
/// is the number of folders between the snapshot and the link.
pub(crate) fn link(blob: &Path, place: &Path, n_deep: usize) -> io::Result<()> {
    let folder = place.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let to = PathBuf::from("../".repeat(n_deep + 2) + "blobs");
    let to = to.join(blob.file_name().unwrap_or_default());
    // In one step, since another process may read or make the link. An old one may lead to nothing,
    // in a cache that was cleaned in part.
    let temporary = beside(place, "link");
    let _ = fs::remove_file(&temporary);
    std::os::unix::fs::symlink(to, &temporary)?;
    fs::rename(&temporary, place)
}

/// Writes a file in one step.
fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(file.parent().unwrap_or(Path::new(".")))?;
    let temporary = beside(file, "tmp");
    fs::write(&temporary, bytes)?;
    fs::rename(temporary, file)
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{}.{ending}", std::process::id()));
    name.into()
}
