//! Reads the rows of one file, whatever it is.

use crate::decompress::{Codec, decompress};
use crate::each::{Each, Stop};
use crate::error::{Error, file_error, unreadable};
use crate::kind::{Kind, TextKind};
use crate::lines::EXPECTED;
use crate::row::Object;
use crate::spool::spool;
use crate::stored::Stored;
use crate::{array, lines, parquet, table};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::ops::ControlFlow;
use std::path::Path;
use std::rc::Rc;

/// A file that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Whole {
    /// SHA-256 of the stored bytes as they were read, in hexadecimal; None where `each` stopped
    /// early.
    pub sha256: Option<String>,
    /// Rows of more than [`MAX_ROW_BYTES`](crate::MAX_ROW_BYTES) or
    /// [`MAX_ROW_VALUES`](crate::MAX_ROW_VALUES), which were skipped.
    pub n_too_big: usize,
    /// Bytes that were read, as stored.
    pub n_bytes: u64,
    /// What was left out of its rows, a line each.
    pub notes: Vec<String>,
}

/// Takes the number of a row, from 1, and the row; breaks if it wants no more.
pub type EachRow<'a, E> = dyn FnMut(usize, &Object) -> std::result::Result<ControlFlow<()>, E> + 'a;

/// Opens nothing but a regular file, so a pipe stays as it is.
///
/// Errors, as of [`for_each_row`]: the file is not there, or may not be read.
pub fn require_readable(path: &Path) -> Result<(), Error> {
    let fail = |e: io::Error| unreadable(path, &e);
    if std::fs::metadata(path).map_err(fail)?.is_file() {
        std::fs::File::open(path).map_err(fail)?;
    }
    Ok(())
}

/// Calls `each(row number from 1, row)` for every row of the file until it breaks or fails. A line
/// of a `.txt` file is the row `{"text": line}`; the number of a row of JSON Lines or text is that
/// of its line.
///
/// Errors, in one line that names the file and the row: the file cannot be read, holds no rows, or
/// is damaged or of a kind that is not taken; and whatever `each` fails with.
///
/// `ignore`: fields that may hold what is no JSON in a parquet file; it is `true` there.
pub fn for_each_row<E: From<Error>>(
    path: &Path,
    ignore: &[String],
    each: &mut EachRow<'_, E>,
) -> std::result::Result<Whole, E> {
    let (mut n_rows, mut failed) = (0, None);
    let mut stored = Stored::of(path)?;
    let mut notes = Vec::new();
    let rows = read(
        (path, ignore),
        &mut stored,
        &mut notes,
        &mut |number, row| {
            n_rows += 1;
            match each(number, row) {
                Ok(ControlFlow::Continue(())) => return Ok(()),
                Ok(ControlFlow::Break(())) => {}
                Err(error) => failed = Some(error),
            }
            Err(Stop::Caller)
        },
    );
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
        notes,
    })
}

/// Reads the file to its end. Returns how many rows were too big and skipped.
fn read(
    (path, ignore): (&Path, &[String]),
    stored: &mut BufReader<Stored>,
    notes: &mut Vec<String>,
    each: &mut Each,
) -> std::result::Result<usize, Stop> {
    let fail = |e: io::Error| unreadable(path, &e);
    let n_stored = stored.get_ref().n_bytes();
    let kind = Kind::of(path, stored.fill_buf().map_err(fail)?);
    let codec = match kind {
        Kind::Gzip => Codec::Gzip,
        Kind::Zstd => Codec::Zstd,
        Kind::Parquet => {
            let before = stored.get_ref().seekable(path)?;
            let file = File::open(path).map_err(fail)?;
            let n_too_big = parquet::read(path, file, ignore, each)?;
            io::copy(stored, &mut io::sink()).map_err(fail)?;
            stored.get_ref().check_unchanged(path, &before)?;
            return Ok(n_too_big);
        }
        Kind::Text | Kind::Refused(..) => {
            let n_too_big = text(path, kind, stored, notes, each)?;
            io::copy(stored, &mut io::sink()).map_err(fail)?;
            return Ok(n_too_big);
        }
    };
    let n_read = Rc::clone(&n_stored);
    let mut reader = decompress(path, codec, stored, n_stored)?;
    let damaged = |e: io::Error| file_error(path, format_args!("cannot be read: {e}"));
    let n_too_big = match Kind::of(path, reader.fill_buf().map_err(damaged)?) {
        Kind::Parquet => {
            let file = spool(path, &mut reader, &n_read)?;
            parquet::read(path, file, ignore, each)?
        }
        kind => text(path, kind, &mut reader, notes, each)?,
    };
    io::copy(&mut reader, &mut io::sink()).map_err(damaged)?;
    drop(reader);
    io::copy(stored, &mut io::sink()).map_err(fail)?;
    Ok(n_too_big)
}

/// Rows of text that is not compressed.
fn text(
    path: &Path,
    kind: Kind,
    reader: &mut dyn BufRead,
    notes: &mut Vec<String>,
    each: &mut Each,
) -> std::result::Result<usize, Stop> {
    let fail = |e: io::Error| unreadable(path, &e);
    let refused = match kind {
        Kind::Text | Kind::Parquet => None,
        Kind::Refused(what, remedy) => Some(format!("is {what}, which is not read; {remedy}")),
        Kind::Gzip | Kind::Zstd => Some("is compressed twice; decompress it once".to_string()),
    };
    if let Some(refused) = refused {
        return Err(file_error(path, refused).into());
    }
    let begin = reader.fill_buf().map_err(fail)?;
    let kind = TextKind::of(path);
    if begin.starts_with(b"\xef\xbb\xbf") {
        reader.consume(3);
    } else if begin.starts_with(b"\xff\xfe\0\0") || begin.starts_with(b"\0\0\xfe\xff") {
        let what = "is UTF-32 text; convert the file to UTF-8, as with `iconv -f UTF-32 -t UTF-8`";
        return Err(file_error(path, what).into());
    } else if is_utf_16(begin, kind) {
        let what = "is UTF-16 text; convert the file to UTF-8, as with `iconv -f UTF-16 -t UTF-8`";
        return Err(file_error(path, what).into());
    }
    match kind {
        TextKind::Lines => return lines::text(path, reader, each),
        TextKind::Csv | TextKind::Tsv if !is_json(reader.fill_buf().map_err(fail)?) => {
            let delimiter = if kind == TextKind::Csv { b',' } else { b'\t' };
            notes.extend(table::read(path, delimiter, reader, each)?);
            return Ok(0);
        }
        _ => {}
    }
    match first_byte(reader).map_err(fail)? {
        None => {
            let mut n_rows = 0;
            let n_too_big = lines::json(path, reader, &mut |number, row| {
                n_rows += 1;
                each(number, row)
            })?;
            match n_rows + n_too_big {
                0 => Err(file_error(path, format_args!("is empty; {EXPECTED}")).into()),
                _ => Ok(n_too_big),
            }
        }
        Some(b'[') => array::read(path, reader, each),
        Some(b'{') => lines::json(path, reader, each),
        Some(_) => {
            let begin = reader.fill_buf().map_err(fail)?.trim_ascii_start();
            let what = match is_scalar(begin) {
                true => "is one value of JSON, not rows",
                false => "is not JSON",
            };
            Err(file_error(path, format_args!("{what}; {EXPECTED}")).into())
        }
    }
}

/// Whether a text begins as a text, a number or a constant of JSON does.
fn is_scalar(begin: &[u8]) -> bool {
    let words: [&[u8]; 3] = [b"null", b"true", b"false"];
    matches!(begin, [b'"' | b'-' | b'0'..=b'9', ..])
        || words.iter().any(|word| begin.starts_with(word))
}

/// Whether a text begins as UTF-16 does: with its mark, or with a zero beside a letter.
fn is_utf_16(begin: &[u8], kind: TextKind) -> bool {
    let is_table = matches!(kind, TextKind::Csv | TextKind::Tsv);
    matches!(begin, [0xff, 0xfe, ..] | [0xfe, 0xff, ..])
        || matches!(begin, [b'[' | b'{', 0, ..] | [0, b'[' | b'{', ..])
        || (is_table && matches!(begin, [_, 0, _, 0, ..] | [0, _, 0, _, ..]))
}

/// Whether a file whose ending says otherwise begins as JSON does.
pub(crate) fn is_json(begin: &[u8]) -> bool {
    let mut marks = begin.iter().filter(|b| !b.is_ascii_whitespace());
    matches!(
        (marks.next(), marks.next()),
        (Some(b'{'), Some(b'"')) | (Some(b'['), Some(b'{'))
    )
}

/// The first byte that is not white space; it consumes nothing.
pub(crate) fn first_byte(reader: &mut dyn BufRead) -> io::Result<Option<u8>> {
    // Skipping blank lines would shift the line numbers. Only the first buffer is looked at.
    let begin = reader.fill_buf()?;
    Ok(begin.iter().copied().find(|b| !b.is_ascii_whitespace()))
}
