//! Files of lines: JSON Lines, and text of which each line is a row. The number of a row is that of
//! its line. Of a line longer than [`MAX_ROW_BYTES`] nothing is held; it is skipped and counted,
//! and so is an object of more than [`MAX_ROW_VALUES`].

use crate::each::{Each, Stop};
use crate::error::{Result, not_an_object, row_error};
use crate::row::{MAX_ROW_BYTES, MAX_ROW_VALUES, Object};
use serde_json::{Map, Value};
use std::io::{BufRead, Read};
use std::path::Path;
use strict_json::{AtMost, has_remedy, problem_in_line};

pub(crate) const EXPECTED: &str = "expected a JSON array of objects, or one JSON object per line";

/// What Python's `json.dumps` writes for numbers that JSON does not have.
const NOT_JSON: [&str; 2] = ["NaN", "Infinity"];

/// The rows `{"text": line}`. Returns how many lines were too long and skipped.
pub(crate) fn text(
    path: &Path,
    reader: &mut dyn BufRead,
    each: &mut Each,
) -> std::result::Result<usize, Stop> {
    lines(path, reader, &mut |number, line| {
        each(
            number,
            &Map::from_iter([("text".to_string(), Value::from(line))]),
        )
    })
}

/// One object per line. Returns how many lines were too big and skipped.
pub(crate) fn json(
    path: &Path,
    reader: &mut dyn BufRead,
    each: &mut Each,
) -> std::result::Result<usize, Stop> {
    let mut n_too_many = 0;
    let n_too_long = lines(path, reader, &mut |number, line| {
        match object(path, number, line)? {
            Some(row) => each(number, &row)?,
            None => n_too_many += 1,
        }
        Ok(())
    })?;
    Ok(n_too_long + n_too_many)
}

/// Calls `each` for every line that is not blank.
fn lines(
    path: &Path,
    reader: &mut dyn BufRead,
    each: &mut dyn FnMut(usize, &str) -> std::result::Result<(), Stop>,
) -> std::result::Result<usize, Stop> {
    let mut bytes = Vec::new();
    let mut n_too_big = 0;
    for number in 1.. {
        bytes.clear();
        let fail = |e| row_error(path, number, format_args!("cannot be read: {e}"));
        let limit = MAX_ROW_BYTES as u64 + 1;
        let mut limited = (&mut *reader).take(limit);
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

/// None: it has too many values.
fn object(path: &Path, number: usize, line: &str) -> Result<Option<Object>> {
    match AtMost(MAX_ROW_VALUES).of_text(line) {
        Ok(None) => Ok(None),
        Ok(Some(Value::Object(object))) => Ok(Some(object)),
        Ok(Some(other)) => Err(not_an_object(path, number, &other)),
        Err(e) if has_remedy(&e) => Err(row_error(path, number, problem_in_line(&e))),
        Err(e) if e.is_eof() => Err(row_error(
            path,
            number,
            format_args!(
                "ends in the middle of an object; the file is truncated, or an object spans lines \
                 ({EXPECTED})"
            ),
        )),
        Err(e) => {
            let at = line.get(e.column().saturating_sub(1)..).unwrap_or_default();
            let what = match NOT_JSON.iter().find(|word| at.starts_with(**word)) {
                Some(word) => format!(
                    "has {word} at column {}, which is no JSON; write null, or remove the row",
                    e.column()
                ),
                None => format!("{}; {EXPECTED}", problem_in_line(&e)),
            };
            Err(row_error(path, number, what))
        }
    }
}
