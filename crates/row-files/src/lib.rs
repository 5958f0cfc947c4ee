//! Rows of data files, one at a time: JSON, JSON Lines, text, CSV, TSV and parquet, plain or
//! compressed by gzip or zstd; and the files that a directory or a pattern names.
//!
//! What a file is, its first bytes say; the ending tells only text, CSV and TSV apart. A file is
//! read once, from its start to its end, so a pipe will do (for parquet it will not). Its hash is
//! of the bytes that were read. Only the current row is in memory, and no row has more bytes or
//! values than a bound. Knows no dataset format; every error is one line that names the file and
//! the row.

mod array;
mod container;
mod decompress;
mod each;
mod error;
mod kind;
mod limited;
mod lines;
mod list;
mod names;
mod parquet;
mod quotes;
mod read;
mod row;
mod split;
mod spool;
mod stored;
mod table;
mod waiting;

pub use container::{Container, container};
pub use error::{Error, Result, row_error};
pub use kind::is_text;
pub use list::{DataFileList, data_files};
pub use names::{FileKind, SPLIT_WORDS, TRAIN, taken_endings};
pub use read::{EachRow, Whole, for_each_row, require_readable};
pub use row::{MAX_ROW_BYTES, MAX_ROW_VALUES, Object, TOO_BIG, type_name};
