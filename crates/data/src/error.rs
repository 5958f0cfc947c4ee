//! The one error of this crate: a sentence for the user.

pub type Result<T> = std::result::Result<T, Error>;

/// A user's mistake in one line: file, row (1-based), field, what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);
