//! The files of a repository at one commit: as the hub lists them, and as huggingface_hub keeps the
//! list in its cache (`trees/<commit>.json`).

use crate::content_hash::ContentHash;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// huggingface_hub's version of the cached list.
const FORMAT_VERSION: u64 = 1;

/// A file of a repository.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TreeFile {
    pub path: String,
    pub n_bytes: u64,
    /// What huggingface_hub keeps of it beside the size; empty if it is not known.
    info: Map<String, Value>,
}

/// The files of a commit, by path.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tree {
    pub files: Vec<TreeFile>,
}

/// An entry of the hub's answer.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    oid: String,
    lfs: Option<Lfs>,
    #[serde(rename = "xetHash")]
    xet_hash: Option<String>,
}

#[derive(Deserialize)]
struct Lfs {
    oid: String,
    size: u64,
}

impl TreeFile {
    pub fn new(path: &str, n_bytes: u64) -> Self {
        Self {
            path: path.to_string(),
            n_bytes,
            info: Map::new(),
        }
    }

    /// The tag of the content, if it is known.
    pub fn tag(&self) -> Option<&str> {
        let info = |name: &str| self.info.get(name)?.as_str();
        info("lfs_sha256").or_else(|| info("blob_id"))
    }

    /// The hash of the content, if it is known.
    pub fn hash(&self) -> Option<ContentHash> {
        let info = |name: &str| self.info.get(name)?.as_str();
        ContentHash::of_hub(info("lfs_sha256"), info("blob_id"))
    }
}

impl Tree {
    pub fn new(mut files: Vec<TreeFile>) -> Self {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Self { files }
    }

    pub fn get(&self, path: &str) -> Option<&TreeFile> {
        let at = self.files.binary_search_by(|f| f.path.as_str().cmp(path));
        at.ok().map(|at| &self.files[at])
    }

    /// The files of one page of the hub's answer.
    pub fn page(text: &[u8]) -> Result<Vec<TreeFile>, serde_json::Error> {
        let entries: Vec<Entry> = serde_json::from_slice(text)?;
        let files = entries.into_iter().filter(|entry| entry.kind == "file");
        Ok(files.map(TreeFile::from).collect())
    }

    /// From the cache; None where it is damaged or of another version.
    pub fn from_cached(text: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(text).ok()?;
        if value.get("format_version")?.as_u64()? != FORMAT_VERSION {
            return None;
        }
        let files = value.get("files")?.as_object()?.iter();
        let file = |(path, info): (&String, &Value)| {
            let mut info = info.as_object()?.clone();
            let n_bytes = info.remove("size")?.as_u64()?;
            let path = path.clone();
            Some(TreeFile {
                path,
                n_bytes,
                info,
            })
        };
        let tree = Self::new(files.map(file).collect::<Option<_>>()?);
        tree.impossible_name().is_none().then_some(tree)
    }

    /// A name that no repository can have, and that would lead elsewhere.
    pub fn impossible_name(&self) -> Option<&str> {
        let names = self.files.iter().map(|file| file.path.as_str());
        names
            .into_iter()
            .find(|name| name.split('/').any(is_elsewhere))
    }

    /// A name that is there twice.
    pub fn repeated_name(&self) -> Option<&str> {
        let twice = |pair: &&[TreeFile]| pair[0].path == pair[1].path;
        let mut pairs = self.files.windows(2);
        pairs.find(twice).map(|pair| pair[0].path.as_str())
    }

    /// For the cache.
    pub fn to_cached(&self) -> String {
        let files = self.files.iter().map(|file| {
            let mut info = Map::from_iter([("size".to_string(), json!(file.n_bytes))]);
            info.extend(file.info.clone());
            (file.path.clone(), Value::Object(info))
        });
        let files: Map<String, Value> = files.collect();
        json!({ "format_version": FORMAT_VERSION, "files": files }).to_string()
    }
}

impl From<Entry> for TreeFile {
    fn from(entry: Entry) -> Self {
        let mut info = Map::from_iter([("blob_id".to_string(), json!(entry.oid))]);
        let mut n_bytes = entry.size;
        if let Some(lfs) = entry.lfs {
            n_bytes = lfs.size;
            info.insert("lfs_sha256".into(), json!(lfs.oid));
            info.insert("lfs_size".into(), json!(lfs.size));
        }
        let is_hash =
            |hash: &String| hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit());
        if let Some(hash) = entry.xet_hash.filter(is_hash) {
            info.insert("xet_hash".into(), json!(hash));
        }
        Self {
            path: entry.path,
            n_bytes,
            info,
        }
    }
}

/// Whether a name from the hub stays below the directory it is joined to.
pub(crate) fn is_plain_path(name: &str) -> bool {
    let is_odd = |c: char| c == '\\' || c.is_control();
    !name.contains(is_odd) && !name.split('/').any(is_elsewhere)
}

fn is_elsewhere(part: &str) -> bool {
    matches!(part, "" | "." | "..")
}
