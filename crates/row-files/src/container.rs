//! What a file is, in words, without reading its rows.

use crate::decompress::{Codec, decompress};
use crate::kind::{Kind, TextKind};
use crate::read::{first_byte, is_json};
use crate::stored::Stored;
use std::io::BufRead;
use std::path::Path;

/// What a file of rows is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// `JSON Lines`, `parquet`, …
    pub what: &'static str,
    /// `gzip` or `zstd`
    pub compression: Option<&'static str>,
    /// Its bytes as stored
    pub n_bytes: u64,
}

/// What the file is by its first bytes. None: it is no regular file (a pipe would lose what is read
/// of it), it cannot be read, or it holds no rows that are taken; reading its rows says why.
///
/// ```
/// let path = std::env::temp_dir().join("container-of-wick.json");
/// std::fs::write(&path, "[{\"text\": \"Hi\"}]")?;
/// assert_eq!(row_files::container(&path).unwrap().what, "a JSON list");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn container(path: &Path) -> Option<Container> {
    let metadata = std::fs::metadata(path).ok().filter(|m| m.is_file())?;
    let mut stored = Stored::of(path).ok()?;
    let counter = stored.get_ref().n_bytes();
    let kind = Kind::of(path, stored.fill_buf().ok()?);
    let (compression, codec) = match kind {
        Kind::Gzip => (Some("gzip"), Some(Codec::Gzip)),
        Kind::Zstd => (Some("zstd"), Some(Codec::Zstd)),
        _ => (None, None),
    };
    let what = match codec {
        None => rows_of(path, kind, &mut stored)?,
        Some(codec) => {
            let mut reader = decompress(path, codec, &mut stored, counter).ok()?;
            let kind = Kind::of(path, reader.fill_buf().ok()?);
            rows_of(path, kind, &mut reader)?
        }
    };
    Some(Container {
        what,
        compression,
        n_bytes: metadata.len(),
    })
}

fn rows_of(path: &Path, kind: Kind, reader: &mut dyn BufRead) -> Option<&'static str> {
    match kind {
        Kind::Parquet => return Some("parquet"),
        Kind::Text => {}
        Kind::Gzip | Kind::Zstd | Kind::Refused(..) => return None,
    }
    if reader.fill_buf().ok()?.starts_with(b"\xef\xbb\xbf") {
        reader.consume(3);
    }
    match TextKind::of(path) {
        TextKind::Lines => return Some("lines of text"),
        TextKind::Csv if !is_json(reader.fill_buf().ok()?) => return Some("CSV"),
        TextKind::Tsv if !is_json(reader.fill_buf().ok()?) => return Some("TSV"),
        _ => {}
    }
    match first_byte(reader).ok()?? {
        b'[' => Some("a JSON list"),
        b'{' => Some("JSON Lines"),
        _ => None,
    }
}
