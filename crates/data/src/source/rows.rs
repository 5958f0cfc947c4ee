//! Rows of a file, one at a time: a JSON array of objects, JSON Lines, or lines of text. The file
//! is read once, from its start to its end, so a pipe will do; its hash is of the bytes that were
//! read. Only the current row is in memory, and of a line longer than [`MAX_ROW_BYTES`] not even
//! that. Knows no format; every error names the file and the row (for JSON Lines, the line).

use crate::{Error, Result};
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use strict_json::{StrictValue, has_remedy, problem, problem_in_line};

pub(crate) type Object = Map<String, Value>;

const EXPECTED: &str = "expected a JSON array of objects, or one JSON object per line";

/// The longest line, and the most text of a row. No context holds that much: 16 MiB of English are
/// four million tokens.
pub(crate) const MAX_ROW_BYTES: usize = 16 << 20;

/// Why a row is dropped that is longer.
pub(crate) const TOO_BIG: &str = "longer than 16 MiB";

/// A file that was read to its end.
pub(crate) struct Whole {
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// Lines longer than [`MAX_ROW_BYTES`], which were skipped.
    pub n_too_big: usize,
}

/// Calls `each(row number from 1, row)` for every row of the file. A line of a `.txt` file is the
/// row `{"text": line}`.
pub(crate) fn for_each_row(
    path: &Path,
    each: &mut dyn FnMut(usize, &Object) -> Result<()>,
) -> Result<Whole> {
    let shown = path.display();
    let fail = |e: std::io::Error| unreadable(path, &e);
    if path.is_dir() {
        return Err(Error(format!("{shown}: is a directory, not a data file")));
    }
    let file = run::HashingReader::new(File::open(path).map_err(fail)?);
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let begin = reader.fill_buf().map_err(fail)?;
    if begin.starts_with(b"\xef\xbb\xbf") {
        reader.consume(3);
    } else if is_utf_16(begin) {
        return Err(Error(format!(
            "{shown}: is UTF-16 text; convert the file to UTF-8, as with `iconv -f UTF-16 -t UTF-8`"
        )));
    }
    let (mut n_rows, mut n_too_big) = (0, 0);
    let mut counted = |number: usize, row: &Object| {
        n_rows += 1;
        each(number, row)
    };
    if is_text(path) {
        n_too_big = lines(path, &mut reader, &mut |number, line| {
            counted(
                number,
                &Map::from_iter([("text".to_string(), Value::from(line))]),
            )
        })?;
    } else {
        match first_byte(&mut reader).map_err(fail)? {
            None => return Err(Error(format!("{shown}: is empty; {EXPECTED}"))),
            Some(b'[') => array(path, &mut reader, &mut counted)?,
            Some(b'{') => {
                n_too_big = lines(path, &mut reader, &mut |number, line| {
                    counted(number, &object(path, number, line)?)
                })?;
            }
            Some(_) => return Err(Error(format!("{shown}: is not JSON; {EXPECTED}"))),
        }
    }
    if n_rows + n_too_big == 0 {
        return Err(Error(format!("{shown}: has no rows")));
    }
    std::io::copy(&mut reader, &mut std::io::sink()).map_err(fail)?;
    Ok(Whole {
        sha256: reader.into_inner().finish(),
        n_too_big,
    })
}

/// Whether a text begins as UTF-16 does: with its mark, or with a zero beside a letter.
fn is_utf_16(begin: &[u8]) -> bool {
    matches!(begin, [0xff, 0xfe, ..] | [0xfe, 0xff, ..])
        || matches!(begin, [b'[' | b'{', 0, ..] | [0, b'[' | b'{', ..])
}

/// The endings of files of rows.
const ENDINGS: [&str; 3] = ["json", "jsonl", "txt"];

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    let why = run::why_unreadable(path, error, &ENDINGS);
    Error(format!("{}: cannot be read: {why}", path.display()))
}

pub(crate) fn is_text(path: &Path) -> bool {
    path.extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("txt"))
}

/// The first byte that is not white space; it consumes nothing.
fn first_byte(reader: &mut impl BufRead) -> std::io::Result<Option<u8>> {
    // Skipping blank lines would shift the line numbers. What begins beyond the first buffer counts
    // as empty.
    Ok(reader
        .fill_buf()?
        .iter()
        .copied()
        .find(|b| !b.is_ascii_whitespace()))
}

/// Calls `each` for every line that is not blank. Returns how many were too long and skipped.
fn lines(
    path: &Path,
    reader: &mut impl BufRead,
    each: &mut dyn FnMut(usize, &str) -> Result<()>,
) -> Result<usize> {
    let mut bytes = Vec::new();
    let mut n_too_big = 0;
    for number in 1.. {
        bytes.clear();
        let fail = |e| row_error(path, number, format!("cannot be read: {e}"));
        let limit = MAX_ROW_BYTES as u64 + 1;
        let mut limited = reader.by_ref().take(limit);
        if limited.read_until(b'\n', &mut bytes).map_err(fail)? == 0 {
            break;
        }
        if bytes.len() > MAX_ROW_BYTES {
            if bytes.last() != Some(&b'\n') {
                reader.skip_until(b'\n').map_err(fail)?;
            }
            n_too_big += 1;
            bytes = Vec::new();
            continue;
        }
        let line = str::from_utf8(&bytes)
            .map_err(|_| row_error(path, number, "is not UTF-8 text; convert the file to UTF-8"))?;
        let line = line.trim_end_matches(['\n', '\r']);
        if !line.trim().is_empty() {
            each(number, line)?;
        }
    }
    Ok(n_too_big)
}

fn object(path: &Path, number: usize, line: &str) -> Result<Object> {
    match serde_json::from_str(line) {
        Ok(StrictValue(Value::Object(object))) => Ok(object),
        Ok(StrictValue(other)) => Err(not_an_object(path, number, &other)),
        Err(e) if has_remedy(&e) => Err(row_error(path, number, problem_in_line(&e))),
        Err(e) if e.is_eof() => Err(row_error(
            path,
            number,
            format!(
                "ends in the middle of an object; the file is truncated, or an object spans lines ({EXPECTED})"
            ),
        )),
        Err(e) => Err(row_error(
            path,
            number,
            format!("{}; {EXPECTED}", problem_in_line(&e)),
        )),
    }
}

fn array(
    path: &Path,
    reader: impl BufRead,
    each: &mut dyn FnMut(usize, &Object) -> Result<()>,
) -> Result<()> {
    let mut visitor = RowVisitor {
        path,
        each,
        n_rows: 0,
        failed: None,
    };
    let mut json = serde_json::Deserializer::from_reader(reader);
    let end = json.deserialize_seq(&mut visitor).and_then(|()| json.end());
    if let Some(error) = visitor.failed {
        return Err(error);
    }
    let number = visitor.n_rows + 1;
    match end {
        Ok(()) => Ok(()),
        Err(e) if e.is_io() => Err(row_error(path, number, format!("cannot be read: {e}"))),
        Err(e) if e.is_eof() => Err(row_error(
            path,
            number,
            "ends in the middle of an object; the file is truncated",
        )),
        Err(e) if e.to_string().starts_with("invalid unicode") => Err(row_error(
            path,
            number,
            "is not UTF-8 text; convert the file to UTF-8",
        )),
        Err(e) => Err(row_error(path, number, problem(&e))),
    }
}

/// Visits the elements of an array one by one.
struct RowVisitor<'a> {
    path: &'a Path,
    each: &'a mut dyn FnMut(usize, &Object) -> Result<()>,
    n_rows: usize,
    /// The error that stopped the visit, unless it is one of the JSON itself.
    failed: Option<Error>,
}

impl<'de> Visitor<'de> for &mut RowVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("a JSON array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<(), A::Error> {
        while let Some(StrictValue(row)) = seq.next_element::<StrictValue>()? {
            let number = self.n_rows + 1;
            let result = match &row {
                Value::Object(object) => (self.each)(number, object),
                other => Err(not_an_object(self.path, number, other)),
            };
            if let Err(error) = result {
                self.failed = Some(error);
                return Err(A::Error::custom("stopped"));
            }
            self.n_rows = number;
        }
        Ok(())
    }
}

pub(crate) fn row_error(path: &Path, number: usize, what: impl std::fmt::Display) -> Error {
    Error(format!("{}: row {number}: {what}", path.display()))
}

fn not_an_object(path: &Path, number: usize, value: &Value) -> Error {
    row_error(
        path,
        number,
        format!("is {}, not an object with named fields", type_name(value)),
    )
}

/// A value's type in words.
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
