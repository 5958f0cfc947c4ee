//! Errors of models and their files. Each is one line that says what is wrong, where, and what to
//! do.

use std::path::{Path, PathBuf};

/// A result with this crate's error.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong with a model or its files.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A model, adapter or setting that cannot be used.
    #[error("{0}")]
    Input(String),
    /// The hub's settings cannot be used.
    #[error(transparent)]
    Hub(#[from] hub::Error),
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
}

impl Error {
    /// `<path>: <what>`
    pub(crate) fn at(path: &Path, what: impl std::fmt::Display) -> Self {
        Self::Input(format!("{}: {what}", path.display()))
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io {
            path: path.to_path_buf(),
            source,
        }
    }
}
