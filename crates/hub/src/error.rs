//! The error type of this crate.

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something of the hub cannot be had, in one line: what was asked for, what the hub or the
/// cache says, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);
