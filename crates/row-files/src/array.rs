//! A JSON array of objects, one element at a time. An element whose text is longer than
//! [`MAX_ELEMENT_BYTES`] is refused while it is read; one of more than [`MAX_ROW_VALUES`] is
//! skipped and counted.

use crate::each::{Each, Stop};
use crate::error::{not_an_object, row_error};
use crate::limited::Limited;
use crate::row::MAX_ROW_VALUES;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use strict_json::{AtMost, problem};

/// The longest text of an element, white space included.
const MAX_ELEMENT_BYTES: u64 = 64 << 20;

/// Calls `each` for every element. Returns how many had too many values and were skipped.
pub(crate) fn read(path: &Path, reader: &mut dyn BufRead, each: &mut Each) -> Result<usize, Stop> {
    let limited = Limited::new(reader, MAX_ELEMENT_BYTES);
    let mut visitor = RowVisitor {
        path,
        each,
        limit: limited.limit(),
        n_rows: 0,
        n_too_big: 0,
        stopped: None,
    };
    let mut json = serde_json::Deserializer::from_reader(BufReader::new(limited));
    let end = json.deserialize_seq(&mut visitor).and_then(|()| json.end());
    if let Some(stop) = visitor.stopped {
        return Err(stop);
    }
    let number = visitor.n_rows + 1;
    let what = match end {
        Ok(()) => return Ok(visitor.n_too_big),
        Err(_) if visitor.limit.is_passed() => "is longer than 64 MiB".to_string(),
        Err(e) if e.is_io() => format!("cannot be read: {e}"),
        Err(e) if e.is_eof() => {
            "ends in the middle of an object; the file is truncated".to_string()
        }
        Err(e) if e.to_string().starts_with("invalid unicode") => {
            "is not UTF-8 text; convert the file to UTF-8".to_string()
        }
        Err(e) => problem(&e),
    };
    Err(row_error(path, number, what).into())
}

/// Visits the elements of an array one by one.
struct RowVisitor<'a, 'b> {
    path: &'a Path,
    each: &'a mut Each<'b>,
    limit: crate::limited::Limit,
    n_rows: usize,
    n_too_big: usize,
    /// What stopped the visit, unless it is an error of the JSON itself.
    stopped: Option<Stop>,
}

impl<'de> Visitor<'de> for &mut RowVisitor<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("a JSON array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(row) = seq.next_element_seed(AtMost(MAX_ROW_VALUES))? {
            let number = self.n_rows + 1;
            let result = match &row {
                None => {
                    self.n_too_big += 1;
                    Ok(())
                }
                Some(Value::Object(object)) => (self.each)(number, object),
                Some(other) => Err(not_an_object(self.path, number, other).into()),
            };
            if let Err(stop) = result {
                self.stopped = Some(stop);
                return Err(A::Error::custom("stopped"));
            }
            self.n_rows = number;
            self.limit.restart();
        }
        Ok(())
    }
}
