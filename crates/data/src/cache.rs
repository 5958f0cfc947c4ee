//! Tokenised rows of large data, by the content of the files and what their tokens depend on.
//!
//! A directory `data/HASH` in the cache (`WICK_CACHE`, else `$XDG_CACHE_HOME/wick`, else
//! `~/.cache/wick`) has the rows' tokens and index, the held-out records that are shown, the keys
//! of the training prompts, and prepared.json with the checksums of all but the tokens, whose rows
//! have one each. A directory is complete, or not there: it gets its name last. `data/files` has
//! the hashes of files by place, size and time of their last change, so that an unchanged file is
//! not read to find its rows.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Counts up with every change of the files here or of how rows become tokens.
const FORMAT: u32 = 3;

const MANIFEST: &str = "prepared.json";
const KEYS: &str = "prompts.keys";
const RECORDS: &str = "held-out.jsonl";
const INDICES: [&str; 2] = ["train.index", "held-out.index"];

/// A file, and the SHA-256 of its bytes.
pub type FileHash = (PathBuf, String);

/// A file, and its size and times; None if it is none.
pub(crate) type FileState = (PathBuf, Option<String>);

/// The files as they are now.
pub(crate) fn file_states(files: &[PathBuf]) -> Vec<FileState> {
    let now = |file: &PathBuf| (file.clone(), state(file));
    files.iter().map(now).collect()
}

/// The cache. None: there is no place for it.
pub(crate) struct Cache(Option<PathBuf>);

/// The user's cache: `WICK_CACHE`, else `$XDG_CACHE_HOME/wick`, else `~/.cache/wick`.
pub fn cache_dir() -> Option<PathBuf> {
    let var = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let home = || var("HOME").map(|home| PathBuf::from(home).join(".cache"));
    var("WICK_CACHE").map(PathBuf::from).or_else(|| {
        let all = var("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
        all.map(|dir| dir.join("wick"))
    })
}

/// What a later run says and counts without reading the rows.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Facts {
    pub notes: Vec<String>,
    pub n_shared: usize,
    pub weights: Vec<f64>,
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    format: u32,
    key: String,
    facts: Facts,
    /// SHA-256 of each file
    sums: BTreeMap<String, String>,
}

/// A complete directory.
pub(crate) struct Entry {
    pub dir: PathBuf,
    pub facts: Facts,
    files: BTreeMap<String, Vec<u8>>,
}

impl Entry {
    /// The bytes of an index.
    pub fn index(&self, name: &str) -> &[u8] {
        self.files.get(name).map_or(&[], Vec::as_slice)
    }

    /// Deletes the directory, and says why.
    pub fn delete(&self, why: &str) -> Result<()> {
        delete(&self.dir, why)
    }

    /// The keys of the training prompts.
    pub fn keys(&self) -> Vec<u64> {
        let (keys, _) = self.index(KEYS).as_chunks::<8>();
        keys.iter().map(|key| u64::from_le_bytes(*key)).collect()
    }

    /// The held-out records that are shown.
    pub fn records<T: serde::de::DeserializeOwned>(&self) -> Result<Vec<T>> {
        let records = serde_json::Deserializer::from_slice(self.index(RECORDS)).into_iter();
        let records: std::result::Result<Vec<T>, _> = records.collect();
        records.map_err(|e| Error(format!("{}: {e}", self.dir.join(RECORDS).display())))
    }
}

impl Cache {
    /// The cache in a directory.
    pub fn new(dir: Option<&Path>) -> Self {
        Self(dir.map(|dir| dir.join("data")))
    }

    /// The hashes of files that have not changed since [`Cache::remember`]. None: one is not known.
    pub fn known_hashes(&self, files: &[PathBuf]) -> Option<Vec<FileHash>> {
        let known = |file: &PathBuf| {
            let text = std::fs::read_to_string(self.memo(file)?).ok()?;
            let hash = text.strip_prefix(&state(file)?)?.trim();
            Some((file.clone(), hash.to_string()))
        };
        files.iter().map(known).collect()
    }

    /// Notes the hashes of files that are as they were before they were read. One that changed just
    /// now may change again within the resolution of its time, and is left out.
    pub fn remember(&self, files: &[FileHash], states: &[FileState]) {
        let unchanged = states.iter().filter_map(|(file, before)| {
            let state = state(file).filter(|now| Some(now) == before.as_ref())?;
            let hash = files.iter().find(|(path, _)| path == file)?;
            Some((file, &hash.1, state))
        });
        for (file, hash, state) in unchanged {
            let changed = std::fs::metadata(file).and_then(|m| m.modified());
            let is_new = |time: SystemTime| {
                let age = SystemTime::now().duration_since(time);
                age.is_ok_and(|age| age < Duration::from_secs(2))
            };
            if let Some(memo) = self.memo(file).filter(|_| !changed.is_ok_and(is_new)) {
                // without it the file is read again
                let _ = std::fs::create_dir_all(memo.parent().unwrap_or(Path::new(".")));
                let _ = std::fs::write(memo, format!("{state}{hash}\n"));
            }
        }
    }

    fn memo(&self, file: &Path) -> Option<PathBuf> {
        let place = std::fs::canonicalize(file).ok()?;
        let name = run::hash(place.as_os_str().as_encoded_bytes());
        Some(self.0.as_ref()?.join("files").join(name))
    }

    fn dir_of(&self, key: &str) -> Result<PathBuf> {
        let dir = self.0.as_ref().ok_or_else(|| {
            Error("there is no place for the rows' tokens: set WICK_CACHE to a directory".into())
        })?;
        Ok(dir.join(run::hash(format!("{FORMAT} {key}").as_bytes())))
    }

    /// The directory of this key. One that is damaged is deleted, and said to be.
    pub fn find(&self, key: &str) -> Result<Option<Entry>> {
        let Ok(dir) = self.dir_of(key) else {
            return Ok(None);
        };
        if !dir.exists() {
            return Ok(None);
        }
        match open(&dir, key) {
            Ok(entry) => Ok(Some(entry)),
            Err(why) => delete(&dir, &why).map(|()| None),
        }
    }

    /// A new directory for `n_bytes` of text.
    pub fn start(&self, key: &str, n_bytes: u64) -> Result<NewEntry> {
        let target = self.dir_of(key)?;
        let parent = target.parent().unwrap_or(Path::new("."));
        let what = |e: String| {
            Error(format!(
                "{e}; set WICK_CACHE to a directory that has room and can be written"
            ))
        };
        std::fs::create_dir_all(parent)
            .map_err(|e| what(format!("{}: cannot be made: {e}", parent.display())))?;
        delete_abandoned(parent);
        // English has four bytes of text to a token of four bytes, other languages fewer.
        run::require_space(parent, 2 * n_bytes).map_err(|e| what(run::one_line(&e)))?;
        let dir = tempfile::Builder::new()
            .prefix(NEW)
            .tempdir_in(parent)
            .map_err(|e| what(format!("{}: cannot be written: {e}", parent.display())))?;
        let lock = File::create(dir.path().join(LOCK));
        let lock = lock.and_then(|lock| lock.lock().map(|()| lock));
        Ok(NewEntry {
            _lock: lock.map_err(|e| what(format!("{}: {e}", dir.path().display())))?,
            dir,
            target,
            key: key.to_string(),
        })
    }
}

/// How the name of an unfinished directory begins.
const NEW: &str = "new-";

/// A file in it that its process holds locked.
const LOCK: &str = "lock";

/// Deletes unfinished directories of processes that have ended, wherever these ran.
fn delete_abandoned(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_new = name.to_str().is_some_and(|name| name.starts_with(NEW));
        let lock = File::open(entry.path().join(LOCK));
        if is_new && lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// A directory that is being written; it vanishes unless it is finished.
pub(crate) struct NewEntry {
    _lock: File,
    dir: tempfile::TempDir,
    target: PathBuf,
    key: String,
}

impl NewEntry {
    /// Where the tokens go.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where they will be.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Writes all but the tokens, and gives the directory its name.
    pub fn finish<T: Serialize>(
        self,
        indices: [Vec<u8>; 2],
        records: &[T],
        keys: &[u64],
        facts: Facts,
    ) -> Result<Entry> {
        let mut lines = Vec::new();
        for record in records {
            serde_json::to_writer(&mut lines, record).map_err(|e| Error(e.to_string()))?;
            lines.push(b'\n');
        }
        let keys: Vec<u8> = keys.iter().flat_map(|key| key.to_le_bytes()).collect();
        let [train, held_out] = indices;
        let files = [
            (INDICES[0], train),
            (INDICES[1], held_out),
            (RECORDS, lines),
            (KEYS, keys),
        ];
        let sum = |(name, bytes): &(&str, Vec<u8>)| (name.to_string(), run::hash(bytes));
        let manifest = Manifest {
            format: FORMAT,
            key: self.key,
            facts: facts.clone(),
            sums: files.iter().map(sum).collect(),
        };
        let manifest = serde_json::to_vec_pretty(&manifest).map_err(|e| Error(e.to_string()))?;
        let dir = self.dir.path();
        let fail = |e: std::io::Error| Error(format!("{}: cannot be written: {e}", dir.display()));
        for (name, bytes) in &files {
            std::fs::write(dir.join(name), bytes).map_err(fail)?;
        }
        std::fs::write(dir.join(MANIFEST), manifest).map_err(fail)?;
        let _ = std::fs::remove_file(dir.join(LOCK));
        match std::fs::rename(dir, &self.target) {
            Ok(()) => {}
            // another process was faster, with the same bytes
            Err(_) if self.target.join(MANIFEST).exists() => {}
            Err(e) => return Err(fail(e)),
        }
        Ok(Entry {
            dir: self.target,
            facts,
            files: files.map(|(name, bytes)| (name.to_string(), bytes)).into(),
        })
    }
}

/// Deletes a directory, and says why.
fn delete(dir: &Path, why: &str) -> Result<()> {
    run::say!("{}: {why}; the rows are prepared again", dir.display());
    match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Error(format!("{}: cannot be deleted: {e}", dir.display())))
        }
        _ => Ok(()),
    }
}

fn open(dir: &Path, key: &str) -> std::result::Result<Entry, String> {
    let read = |name: &str| {
        std::fs::read(dir.join(name)).map_err(|e| format!("{name} cannot be read: {e}"))
    };
    let manifest: Manifest = serde_json::from_slice(&read(MANIFEST)?)
        .map_err(|e| format!("{MANIFEST} is damaged: {e}"))?;
    if manifest.format != FORMAT || manifest.key != key {
        return Err(format!("{MANIFEST} is of other rows"));
    }
    let mut files = BTreeMap::new();
    for (name, sum) in manifest.sums {
        let bytes = read(&name)?;
        if run::hash(&bytes) != sum {
            return Err(format!("{name} is damaged"));
        }
        files.insert(name, bytes);
    }
    Ok(Entry {
        dir: dir.to_path_buf(),
        facts: manifest.facts,
        files,
    })
}

/// Size, times of the last changes and number of a file.
fn state(file: &Path) -> Option<String> {
    let metadata = std::fs::metadata(file)
        .ok()
        .filter(std::fs::Metadata::is_file)?;
    Some(format!(
        "{} {}.{:09} {}.{:09} {}:{} ",
        metadata.len(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec(),
        metadata.dev(),
        metadata.ino()
    ))
}
