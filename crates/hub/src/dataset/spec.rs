//! The name of a data set: `hub:org/name[/subset or path][@revision][:split]`.

use crate::tree::is_plain_path;
use crate::{Error, Result};
use row_files::FileKind;
use std::fmt;

const PREFIX: &str = "hub:";
const FORM: &str = "hub:ORG/NAME[/SUBSET or PATH][@REVISION][:SPLIT]";
const MAGIC: [char; 4] = ['*', '?', '[', '{'];

/// Which files of which data set.
///
/// ```
/// let spec = hub::DatasetSpec::parse("hub:org/name/en@v1.0:test").unwrap().unwrap();
/// assert_eq!(spec.id(), "org/name");
/// assert_eq!(spec.to_string(), "hub:org/name/en@v1.0:test");
/// assert!(hub::DatasetSpec::parse("data/train.jsonl").is_none());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetSpec {
    pub(super) id: String,
    /// A subset, or a file, folder or glob.
    pub(super) inside: Option<String>,
    /// Whether `inside` can only be a path.
    pub(super) is_path: bool,
    pub(super) revision: Option<String>,
    pub(super) split: Option<String>,
}

impl DatasetSpec {
    /// `None` for a text that does not begin with `hub:`. Fails on one that does and is not of the
    /// form.
    pub fn parse(text: &str) -> Option<Result<Self>> {
        let rest = text.strip_prefix(PREFIX)?;
        Some(Self::of(rest).map_err(|why| Error(format!("{text}: {why}; the form is {FORM}"))))
    }

    /// `org/name`.
    pub fn id(&self) -> &str {
        &self.id
    }

    fn of(rest: &str) -> std::result::Result<Self, String> {
        // A git revision has no colon, a path could have both.
        let (place, revision, split) = match rest.split_once('@') {
            Some((place, _)) if place.contains(':') => {
                return Err("the split comes after the revision".into());
            }
            Some((place, rest)) => match rest.split_once(':') {
                Some((revision, split)) => (place, Some(revision), Some(split)),
                None => (place, Some(rest), None),
            },
            None => match rest.split_once(':') {
                Some((place, split)) => (place, None, Some(split)),
                None => (rest, None, None),
            },
        };
        let mut parts = place.splitn(3, '/');
        let (org, name) = (parts.next().unwrap_or_default(), parts.next());
        let Some(name) = name else {
            return Err(format!("{org:?} has no organisation or user before it"));
        };
        for part in [org, name] {
            let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if !part.chars().all(is_allowed) || matches!(part, "" | "." | "..") {
                return Err(format!("{part:?} is no name of the hub"));
            }
        }
        let inside = parts.next().filter(|inside| !inside.is_empty());
        let path = inside.map(|inside| inside.trim_end_matches('/'));
        if let Some(path) = path.filter(|path| !is_plain_path(path)) {
            return Err(format!("{path:?} is no path below the repository"));
        }
        if let Some(revision) = revision {
            check_revision(revision)?;
        }
        if let Some(split) = split {
            check_split(split)?;
        }
        let is_path = |path: &str| path.contains(['/']) || path.contains(MAGIC);
        Ok(Self {
            id: format!("{org}/{name}"),
            is_path: inside != path
                || path.is_some_and(|p| is_path(p) || FileKind::of(p).is_some()),
            inside: path.map(String::from),
            revision: revision.map(String::from),
            split: split.map(String::from),
        })
    }
}

fn check_revision(revision: &str) -> std::result::Result<(), String> {
    let is_allowed = |c: char| !c.is_whitespace() && !"~^?*[#%".contains(c);
    match is_plain_path(revision) && revision.chars().all(is_allowed) {
        true => Ok(()),
        false => Err(format!("{revision:?} is no revision")),
    }
}

fn check_split(split: &str) -> std::result::Result<(), String> {
    if split.contains('[') {
        return Err(format!("{split:?} is a slice; only whole splits are read"));
    }
    if split.contains('+') {
        return Err(format!(
            "{split:?} is more than one split; name them one by one"
        ));
    }
    let is_word =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_');
    match split.split('.').all(is_word) {
        true => Ok(()),
        false => Err(format!("{split:?} is no split")),
    }
}

impl fmt::Display for DatasetSpec {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.id)?;
        if let Some(inside) = &self.inside {
            write!(f, "/{inside}")?;
        }
        if let Some(revision) = &self.revision {
            write!(f, "@{revision}")?;
        }
        match &self.split {
            Some(split) => write!(f, ":{split}"),
            None => Ok(()),
        }
    }
}
