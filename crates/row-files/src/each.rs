//! How rows are handed to the caller, and why reading stops.

use crate::error::Error;
use crate::row::Object;

/// Why reading ended before the file did.
pub(crate) enum Stop {
    Error(Error),
    /// The caller wants no more rows, or has an error of its own.
    Caller,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Takes a row and its number, from 1.
pub(crate) type Each<'a> = dyn FnMut(usize, &Object) -> Result<(), Stop> + 'a;
