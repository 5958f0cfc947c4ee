//! Reads the rows of one file, whatever it is.

use crate::error::{Error, file_error, unreadable};
use crate::row::{Each, Object, Stop};
use crate::stored::Stored;
use crate::{array, lines};
use std::io::{self, BufRead, BufReader};
use std::ops::ControlFlow;
use std::path::Path;

pub(crate) const EXPECTED: &str = "expected a JSON array of objects, or one JSON object per line";

/// A file that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Whole {
    /// SHA-256 of the stored bytes as they were read, in hexadecimal; None where `each` stopped
    /// early.
    pub sha256: Option<String>,
    /// Rows longer than [`MAX_ROW_BYTES`](crate::MAX_ROW_BYTES), which were skipped.
    pub n_too_big: usize,
    /// Bytes that were read, as stored.
    pub n_bytes: u64,
}

/// Calls `each(row number from 1, row)` for every row of the file until it breaks or fails. A line
/// of a `.txt` file is the row `{"text": line}`; the number of a row of JSON Lines or text is that
/// of its line.
///
/// Errors, in one line that names the file and the row: the file cannot be read, holds no rows, or
/// is damaged or of a kind that is not taken; and whatever `each` fails with.
pub fn for_each_row<E: From<Error>>(
    path: &Path,
    each: &mut dyn FnMut(usize, &Object) -> std::result::Result<ControlFlow<()>, E>,
) -> std::result::Result<Whole, E> {
    let (mut n_rows, mut failed) = (0, None);
    let mut stored = Stored::of(path)?;
    let rows = read(path, &mut stored, &mut |number, row| {
        n_rows += 1;
        match each(number, row) {
            Ok(ControlFlow::Continue(())) => return Ok(()),
            Ok(ControlFlow::Break(())) => {}
            Err(error) => failed = Some(error),
        }
        Err(Stop::Caller)
    });
    if let Some(error) = failed {
        return Err(error);
    }
    let n_too_big = match rows {
        Ok(n_too_big) if n_rows + n_too_big == 0 => {
            return Err(file_error(path, "has no rows").into());
        }
        Ok(n_too_big) => Some(n_too_big),
        Err(Stop::Caller) => None,
        Err(Stop::Error(error)) => return Err(error.into()),
    };
    let (sha256, n_bytes) = stored.into_inner().finish();
    Ok(Whole {
        sha256: n_too_big.map(|_| sha256),
        n_too_big: n_too_big.unwrap_or(0),
        n_bytes,
    })
}

/// Reads the file to its end. Returns how many rows were too long and skipped.
fn read(
    path: &Path,
    reader: &mut BufReader<Stored>,
    each: &mut Each,
) -> std::result::Result<usize, Stop> {
    let fail = |e: io::Error| unreadable(path, &e);
    let n_too_big = plain(path, reader, each)?;
    io::copy(reader, &mut io::sink()).map_err(fail)?;
    Ok(n_too_big)
}

/// Rows of text that is not compressed.
fn plain(
    path: &Path,
    reader: &mut dyn BufRead,
    each: &mut Each,
) -> std::result::Result<usize, Stop> {
    let fail = |e: io::Error| unreadable(path, &e);
    let begin = reader.fill_buf().map_err(fail)?;
    if begin.starts_with(b"\xef\xbb\xbf") {
        reader.consume(3);
    } else if is_utf_16(begin) {
        let what = "is UTF-16 text; convert the file to UTF-8, as with `iconv -f UTF-16 -t UTF-8`";
        return Err(file_error(path, what).into());
    }
    if is_text(path) {
        return lines::text(path, reader, each);
    }
    match first_byte(reader).map_err(fail)? {
        None => Err(file_error(path, format_args!("is empty; {EXPECTED}")).into()),
        Some(b'[') => array::read(path, reader, each).map(|()| 0),
        Some(b'{') => lines::json(path, reader, each),
        Some(_) => Err(file_error(path, format_args!("is not JSON; {EXPECTED}")).into()),
    }
}

/// Whether a text begins as UTF-16 does: with its mark, or with a zero beside a letter.
fn is_utf_16(begin: &[u8]) -> bool {
    matches!(begin, [0xff, 0xfe, ..] | [0xfe, 0xff, ..])
        || matches!(begin, [b'[' | b'{', 0, ..] | [0, b'[' | b'{', ..])
}

/// Whether the lines of the file are its rows, whatever they hold.
pub fn is_text(path: &Path) -> bool {
    path.extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("txt"))
}

/// The first byte that is not white space; it consumes nothing.
fn first_byte(reader: &mut dyn BufRead) -> io::Result<Option<u8>> {
    // Skipping blank lines would shift the line numbers. What begins beyond the first buffer counts
    // as empty.
    let begin = reader.fill_buf()?;
    Ok(begin.iter().copied().find(|b| !b.is_ascii_whitespace()))
}
