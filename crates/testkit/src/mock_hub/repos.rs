//! The repositories of the mock hub: directories, one for each revision.

use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What a repository holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Model,
    Dataset,
}

impl Kind {
    /// Its name in the API and in `root` of the mock hub.
    pub(super) fn folder(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Dataset => "datasets",
        }
    }
}

type Key = (Kind, String);

/// All repositories.
#[derive(Default)]
pub(super) struct Repos {
    revisions: BTreeMap<Key, BTreeMap<String, PathBuf>>,
    commits: BTreeMap<String, String>,
}

/// A repository at a revision.
pub(super) struct Revision<'a> {
    pub kind: Kind,
    pub id: String,
    pub commit: String,
    dir: &'a Path,
}

/// A file of a repository.
pub(super) struct RepoFile {
    pub path: String,
    pub bytes: Vec<u8>,
}

impl RepoFile {
    /// SHA-256, in hexadecimal: the tag of large files.
    pub fn sha256(&self) -> String {
        hex(&Sha256::digest(&self.bytes))
    }

    /// Git's name of the content.
    pub fn oid(&self) -> String {
        let mut sum = Sha1::new_with_prefix(format!("blob {}\0", self.bytes.len()));
        sum.update(&self.bytes);
        hex(&sum.finalize())
    }

    /// Whether the hub keeps such files outside git.
    pub fn is_large(&self) -> bool {
        [".parquet", ".safetensors", ".gz", ".zst"]
            .iter()
            .any(|end| self.path.ends_with(end))
    }

    /// The tag that the hub gives it.
    pub fn tag(&self) -> String {
        match self.is_large() {
            true => self.sha256(),
            false => self.oid(),
        }
    }
}

impl Repos {
    pub fn add(&mut self, kind: Kind, id: &str, revision: &str, dir: &Path) {
        let revisions = self.revisions.entry((kind, id.to_string())).or_default();
        revisions.insert(revision.to_string(), dir.to_path_buf());
    }

    pub fn add_all(&mut self, root: &Path) -> std::io::Result<()> {
        for kind in [Kind::Model, Kind::Dataset] {
            for org in folders(&root.join(kind.folder()))? {
                for name in folders(&org)? {
                    for revision in folders(&name)? {
                        let id = format!("{}/{}", last(&org), last(&name));
                        self.add(kind, &id, &last(&revision).replace("%2F", "/"), &revision);
                    }
                }
            }
        }
        Ok(())
    }

    pub fn set_commit(&mut self, id: &str, commit: &str) {
        self.commits.insert(id.to_string(), commit.to_string());
    }

    pub fn has(&self, kind: Kind, id: &str) -> bool {
        self.revisions.contains_key(&(kind, id.to_string()))
    }

    /// The repository at a revision or commit.
    pub fn revision(&self, kind: Kind, id: &str, revision: &str) -> Option<Revision<'_>> {
        let revisions = self.revisions.get(&(kind, id.to_string()))?;
        let of = |dir| Revision {
            kind,
            id: id.to_string(),
            commit: match self.commits.get(id) {
                Some(commit) => commit.clone(),
                None => commit_of(dir),
            },
            dir,
        };
        match revisions.get(revision) {
            Some(dir) => Some(of(dir)),
            None => revisions
                .values()
                .map(|dir| of(dir))
                .find(|r| r.commit == revision),
        }
    }
}

impl Revision<'_> {
    pub fn file(&self, path: &str) -> Option<RepoFile> {
        let bytes = fs::read(self.dir.join(path)).ok()?;
        let path = path.to_string();
        Some(RepoFile { path, bytes })
    }

    pub fn files(&self) -> Vec<RepoFile> {
        let paths = paths(self.dir);
        paths.iter().filter_map(|path| self.file(path)).collect()
    }
}

/// A commit that depends on all files.
fn commit_of(dir: &Path) -> String {
    let mut sum = Sha256::new();
    for path in paths(dir) {
        sum.update(path.as_bytes());
        sum.update(fs::read(dir.join(path)).unwrap_or_default());
    }
    hex(&sum.finalize())[..40].to_string()
}

/// The files below a directory, in order.
fn paths(dir: &Path) -> Vec<String> {
    let (mut paths, mut folders) = (Vec::new(), vec![dir.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path => paths.push(
                    path.strip_prefix(dir)
                        .unwrap()
                        .to_str()
                        .unwrap()
                        .to_string(),
                ),
            }
        }
    }
    paths.sort();
    paths
}

fn folders(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(dir)?.collect::<Result<Vec<_>, _>>()?;
    Ok(entries
        .iter()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect())
}

fn last(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
