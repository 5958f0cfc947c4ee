//! `data.path`: where rows are.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};

/// One or more paths: each a file, a directory of data files, a pattern such as `part-*.jsonl`, or
/// a data set of the hub (`hub:org/name`). In settings a text, or a list of texts.
///
/// ```
/// let many: data::DataPath = serde_json::from_str(r#"["a.json", "more/*.jsonl"]"#)?;
/// assert_eq!((many.iter().count(), many.to_string().as_str()), (2, "a.json, more/*.jsonl"));
/// assert!(serde_json::from_str::<data::DataPath>("[]").is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "OneOrMany", into = "OneOrMany")]
pub struct DataPath(Vec<PathBuf>);

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a text, or a list of texts")]
enum OneOrMany {
    One(PathBuf),
    Many(Vec<PathBuf>),
}

impl DataPath {
    /// Whether no path is given.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The paths, as they are written.
    pub fn iter(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(PathBuf::as_path)
    }
}

impl<P: Into<PathBuf>> From<P> for DataPath {
    fn from(path: P) -> Self {
        Self(vec![path.into()])
    }
}

impl TryFrom<OneOrMany> for DataPath {
    type Error = String;

    fn try_from(given: OneOrMany) -> Result<Self, String> {
        let paths = match given {
            OneOrMany::One(path) if path.as_os_str().is_empty() => Vec::new(),
            OneOrMany::One(path) => vec![path],
            OneOrMany::Many(paths) if paths.is_empty() => {
                return Err("an empty list names no data; give a path".into());
            }
            OneOrMany::Many(paths) => paths,
        };
        for (i, path) in paths.iter().enumerate() {
            if path.as_os_str().is_empty() {
                return Err("a path is empty".into());
            }
            if paths[..i].contains(path) {
                return Err(format!(
                    "{} is given twice; to visit rows more often, give it a weight in \
                     [[data.sources]]",
                    path.display()
                ));
            }
        }
        Ok(Self(paths))
    }
}

impl From<DataPath> for OneOrMany {
    fn from(DataPath(mut paths): DataPath) -> Self {
        match paths.len() {
            0 => Self::One(PathBuf::new()),
            1 => Self::One(paths.remove(0)),
            _ => Self::Many(paths),
        }
    }
}

impl fmt::Display for DataPath {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let paths = self.0.iter().map(|path| path.display().to_string());
        f.write_str(&paths.collect::<Vec<_>>().join(", "))
    }
}
