//! Rows of data files, one at a time: JSON, JSON Lines and text. A file is read once, from its
//! start to its end, so a pipe will do; its hash is of the bytes that were read. Only the current
//! row is in memory. Knows no dataset format; every error names the file and the row.

mod array;
mod error;
mod limited;
mod lines;
mod list;
mod read;
mod row;
mod stored;

pub use error::{Error, Result, row_error};
pub use list::{DataFileList, data_files};
pub use read::{Whole, for_each_row, is_text};
pub use row::{MAX_ROW_BYTES, Object, TOO_BIG, type_name};
