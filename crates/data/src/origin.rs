//! Where a record was read, for error messages.

use crate::Error;
use std::path::Path;
use std::sync::Arc;

/// The file and row (from 1) of a record; unknown for one made in memory.
///
/// It is no part of what the record is: any two are equal, and it is not stored.
///
/// ```
/// use data::{Error, Origin};
/// let origin = Origin::new(std::path::Path::new("x.jsonl").into(), 17);
/// assert_eq!(origin.locate(Error("no EOS".into())).to_string(), "x.jsonl: row 17: no EOS");
/// assert_eq!(Origin::default().locate(Error("no EOS".into())).to_string(), "no EOS");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Origin {
    place: Option<(Arc<Path>, usize)>,
    source: u16,
    is_transcript: bool,
}

impl Origin {
    /// Row `row` of `file`.
    pub fn new(file: Arc<Path>, row: usize) -> Self {
        Self {
            place: Some((file, row)),
            source: 0,
            is_transcript: false,
        }
    }

    /// The same row, of the given one of `data.sources`.
    #[must_use]
    pub fn of_source(self, source: u16) -> Self {
        Self { source, ..self }
    }

    /// Which of `data.sources` the row is from; 0 if there is one.
    pub fn source(&self) -> u16 {
        self.source
    }

    /// The same row, whose prompt was a transcript.
    #[must_use]
    pub(crate) fn of_transcript(self) -> Self {
        Self {
            is_transcript: true,
            ..self
        }
    }

    /// Whether the prompt was a transcript: white space before an answer then belongs to the mark
    /// of the speaker.
    pub fn is_transcript(&self) -> bool {
        self.is_transcript
    }

    /// Whether it comes before another in its source, by file and row.
    pub(crate) fn is_before(&self, other: &Self) -> bool {
        (self.source, &self.place) < (other.source, &other.place)
    }

    /// The error with file and row before it.
    pub fn locate(&self, error: Error) -> Error {
        match &self.place {
            Some(_) => Error(format!("{self}: {error}")),
            None => error,
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match &self.place {
            Some((file, row)) => write!(f, "{}: row {row}", file.display()),
            None => f.write_str("a prompt"),
        }
    }
}

impl PartialEq for Origin {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
