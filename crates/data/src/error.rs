//! The error type of this crate.

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// A mistake in the user's data, in one line: file, row (from 1), field and remedy.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

impl From<row_files::Error> for Error {
    fn from(error: row_files::Error) -> Self {
        Self(error.0)
    }
}
