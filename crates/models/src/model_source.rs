//! Where a base model comes from: a directory, a GGUF file or the hub.

use crate::hf_files::is_there;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Where a base model comes from.
///
/// ```
/// let source = models::ModelSource::parse("org/name")?;
/// assert_eq!(source, models::ModelSource::Hub("org/name".into()));
/// # Ok::<(), models::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum ModelSource {
    /// A Hugging Face directory.
    Dir(PathBuf),
    /// A GGUF file.
    Gguf(PathBuf),
    /// A model `org/name` of the hub.
    Hub(String),
}

impl ModelSource {
    /// An existing directory or `.gguf` file, else a hub id such as `org/name`. An error names what
    /// was tried.
    pub fn parse(text: &str) -> Result<Self> {
        let path = Path::new(text);
        if path.is_dir() {
            return Ok(Self::Dir(path.to_path_buf()));
        }
        if path.is_file() {
            if text.ends_with(".gguf") {
                return Ok(Self::Gguf(path.to_path_buf()));
            }
            return Err(Error::Input(format!(
                "{text} is a file but not a .gguf; a model is a directory with config.json, a .gguf file or a hub id org/name"
            )));
        }
        is_there(path)?; // what is there and cannot be opened is no hub id
        let part = |s: &str| {
            !s.is_empty()
                && !s.starts_with('.')
                && s.chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        match text.split_once('/') {
            // `runs/nothing`, or a name below any folder that is there, is a mistyped path or a run
            // that was not made, not a hub id
            Some((org, name))
                if part(org)
                    && part(name)
                    && !text.ends_with(".gguf")
                    && org != "runs"
                    && !Path::new(org).is_dir() =>
            {
                Ok(Self::Hub(text.to_string()))
            }
            _ => Err(Error::Input(format!(
                "model \"{text}\": no such directory or .gguf file (looked for {}), and not a hub id \
                 (org/name)",
                std::path::absolute(text).unwrap_or_default().display()
            ))),
        }
    }
}
