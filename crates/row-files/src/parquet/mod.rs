//! Parquet: rows from columns. The file is read from its end, so it is hashed in a pass of its own;
//! a file that changes meanwhile is refused.

mod leaf;
mod meaning;
mod page_header;
mod pages;
mod shape;

use crate::each::{Each, Stop};
use crate::error::{Error, file_error, row_error};
use crate::row::{MAX_ROW_BYTES, MAX_ROW_VALUES};
use leaf::{Fault, Leaf};
use meaning::Meaning;
use pages::{CheckedPages, PageBytes};
use parquet::basic::Encoding;
use parquet::column::reader::get_column_reader;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;
use shape::{Shape, Values};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// Records of a column that are read at once: its values share the memory of their page.
const N_AT_ONCE: usize = 256;

/// The same where a record may hold many values, or a value is built from the one before.
const N_AT_ONCE_LARGE: usize = 4;

/// Calls `each` for every row. Of columns that are to be ignored, values that are no JSON are true.
/// Returns how many rows were too big and skipped.
pub(crate) fn read(
    path: &Path,
    file: File,
    ignore: &[String],
    each: &mut Each,
) -> Result<usize, Stop> {
    let fail = |e: ParquetError| damaged(path, &e);
    let file = Arc::new(file);
    let footer = file
        .try_clone()
        .map_err(|e| crate::error::unreadable(path, &e))?;
    let reader = caught(|| SerializedFileReader::new(footer)).map_err(fail)?;
    let metadata = reader.metadata();
    let schema = metadata.file_metadata().schema_descr();
    let shape = Shape::of(schema.root_schema()).map_err(|what| file_error(path, what))?;
    let meanings = meanings(path, metadata, ignore)?;
    let total = Arc::new(PageBytes::default());
    let mut rows = Rows {
        path,
        each,
        number: 0,
        n_too_big: 0,
    };
    for group in metadata.row_groups() {
        let leaves = caught(|| leaves(&file, group, &meanings, &total));
        let mut leaves = leaves.map_err(fail)?;
        for _ in 0..group.num_rows() {
            rows.next(&shape, &mut leaves)?;
        }
    }
    Ok(rows.n_too_big)
}

/// What the values of each column mean.
fn meanings(
    path: &Path,
    metadata: &ParquetMetaData,
    ignore: &[String],
) -> Result<Vec<(Meaning, bool)>, Error> {
    let schema = metadata.file_metadata().schema_descr();
    let columns = schema.columns().iter();
    let meaning = |column: &Arc<parquet::schema::types::ColumnDescriptor>| {
        let top = column.path().parts().first();
        let is_ignored = top.is_some_and(|name| ignore.contains(name));
        let meaning = match Meaning::of(column) {
            Err(_) if is_ignored => Ok(Meaning::Nothing),
            meaning => meaning,
        };
        meaning.map(|meaning| (meaning, is_ignored)).map_err(|what| {
            let name = column.path().string();
            file_error(
                path,
                format_args!(
                    "column {name:?} {what}, which is not read; leave the column out, or ignore it"
                ),
            )
        })
    };
    columns.map(meaning).collect()
}

fn leaves(
    file: &Arc<File>,
    group: &RowGroupMetaData,
    meanings: &[(Meaning, bool)],
    total: &Arc<PageBytes>,
) -> parquet::errors::Result<Vec<Leaf>> {
    let n_rows = usize::try_from(group.num_rows())?;
    let leaf = |(chunk, meaning): (&ColumnChunkMetaData, &(Meaning, bool))| {
        let pages = CheckedPages::new(file, chunk, n_rows, total)?;
        let column = chunk.column_descr_ptr();
        let builds_on = chunk.encodings().any(|e| e == Encoding::DELTA_BYTE_ARRAY);
        let n_at_once = match builds_on || column.max_rep_level() > 0 {
            true => N_AT_ONCE_LARGE,
            false => N_AT_ONCE,
        };
        let reader = get_column_reader(Arc::clone(&column), Box::new(pages));
        Ok(Leaf::new(&column, *meaning, reader, n_at_once))
    };
    group.columns().iter().zip(meanings).map(leaf).collect()
}

struct Rows<'a, 'b> {
    path: &'a Path,
    each: &'a mut Each<'b>,
    /// Of the row before
    number: usize,
    n_too_big: usize,
}

impl Rows<'_, '_> {
    fn next(&mut self, shape: &Shape, leaves: &mut [Leaf]) -> Result<(), Stop> {
        self.number += 1;
        let (path, number) = (self.path, self.number);
        let mut n_values = Values::at_most(MAX_ROW_VALUES);
        let row = caught(|| leaves.iter_mut().try_for_each(Leaf::begin_record))
            .map_err(Fault::File)
            .and_then(|()| shape.read(leaves, &mut n_values));
        let row = row.map_err(|fault| match fault {
            Fault::Value(what) => row_error(path, number, what),
            Fault::File(error) => damaged(path, &error),
        })?;
        if n_values.are_too_many() || text_bytes(&row) > MAX_ROW_BYTES {
            self.n_too_big += 1;
            return Ok(());
        }
        match row {
            Value::Object(row) => (self.each)(number, &row),
            _ => unreachable!("a row is an object"),
        }
    }
}

/// About as many bytes as the value has as JSON.
fn text_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 4,
        Value::String(text) => text.len() + 2,
        Value::Array(list) => list.iter().map(|item| text_bytes(item) + 2).sum(),
        Value::Object(map) => map.iter().map(|(k, v)| k.len() + text_bytes(v) + 6).sum(),
    }
}

/// What the library says of a file that it cannot read, in one line.
fn damaged(path: &Path, error: &ParquetError) -> Error {
    let (what, text) = match error {
        ParquetError::General(text) | ParquetError::EOF(text) => ("is damaged", text.clone()),
        ParquetError::NYI(text) => ("cannot be read", text.clone()),
        other => ("is damaged", other.to_string()),
    };
    let line = text.lines().next().unwrap_or_default();
    match line.contains("encrypt") {
        true => file_error(
            path,
            "is an encrypted parquet file; decrypt it and write it without encryption",
        ),
        false => file_error(path, format_args!("the parquet file {what}: {line}")),
    }
}

/// What the library returns; where it panics, which it does on some damaged files, an error.
fn caught<T>(read: impl FnOnce() -> parquet::errors::Result<T>) -> parquet::errors::Result<T> {
    run::catch_panic(read).unwrap_or_else(|_| {
        let what = "a page does not hold what its header says";
        Err(ParquetError::General(what.to_string()))
    })
}
