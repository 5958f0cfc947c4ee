//! The error type of this crate, and how a row's mistake is named.

use crate::names::all_endings;
use crate::row::type_name;
use serde_json::Value;
use std::fmt::Display;
use std::io;
use std::path::Path;

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// A mistake in the user's data, in one line: file, row (from 1) and remedy.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

/// `what` is wrong with row `number` of the file, counted from 1.
pub fn row_error(path: &Path, number: usize, what: impl Display) -> Error {
    Error(format!("{}: row {number}: {what}", path.display()))
}

/// `what` is wrong with the file.
pub(crate) fn file_error(path: &Path, what: impl Display) -> Error {
    Error(format!("{}: {what}", path.display()))
}

/// The file cannot be read at all.
pub(crate) fn unreadable(path: &Path, error: &io::Error) -> Error {
    let why = run::why_unreadable(path, error, &all_endings());
    file_error(path, format_args!("cannot be read: {why}"))
}

pub(crate) fn not_an_object(path: &Path, number: usize, value: &Value) -> Error {
    row_error(
        path,
        number,
        format_args!("is {}, not an object with named fields", type_name(value)),
    )
}
