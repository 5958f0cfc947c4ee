//! What a file is by its first bytes, and what to do with one that holds no rows that are taken.

use crate::names::{FileKind, ending};
use std::path::Path;

/// What a file is. The name decides nothing here but what [`TextKind`] says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Text,
    Gzip,
    Zstd,
    Parquet,
    /// What it is, and what to do with it
    Refused(&'static str, &'static str),
}

/// The bytes that [`Kind::of`] wants to see, where the file has them.
pub(crate) const N_SNIFFED: u64 = 512;

const UNPACK: &str = "unpack it and name the files in it";
const ARROW: &str = "write it as parquet, in Python: `import pyarrow as pa, pyarrow.parquet as pq; \
     pq.write_table(pa.ipc.open_file(\"IN\").read_all(), \"OUT.parquet\")`";
const ARROW_STREAM: &str = "write it as JSON Lines, in Python: `import datasets; \
     datasets.Dataset.from_file(\"IN.arrow\").to_json(\"OUT.jsonl\")`";
const ENCRYPTED: &str = "decrypt it and write it as parquet without encryption";
const EXCEL: &str = "save the sheet as CSV (UTF-8)";
const PANDAS: &str = "write it as parquet, in Python: \
     `import pandas; pandas.read_pickle(\"IN\").to_parquet(\"OUT.parquet\")`";
const SQLITE: &str = "write the table as CSV: `sqlite3 -csv -header IN 'select * from TABLE'`";
const DOWNLOAD: &str = "download the file itself";
const TO_PARQUET: &str = "write its rows as parquet or JSON Lines";

/// Bytes at the start of a file, what it then is, and what to do.
const REFUSED: [(&[u8], &str, &str); 25] = [
    (b"PARE", "an encrypted parquet file", ENCRYPTED),
    (b"PK\x03\x04", "a zip archive", UNPACK),
    (b"PK\x05\x06", "an empty zip archive", UNPACK),
    (b"BZh91AY&SY", "bzip2 data", "decompress it with `bunzip2`"),
    (b"\xfd7zXZ\0", "xz data", "decompress it with `unxz`"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (b"Rar!\x1a\x07", "a rar archive", UNPACK),
    (
        b"\x04\x22\x4d\x18",
        "lz4 data",
        "decompress it with `lz4 -d`",
    ),
    (b"\xff\x06\0\0sNaPpY", "snappy data", "decompress it"),
    (b"ARROW1\0", "an Arrow (Feather) file", ARROW),
    (b"FEA1", "a Feather file", TO_PARQUET),
    (b"\xff\xff\xff\xff", "an Arrow stream", ARROW_STREAM),
    (b"\x80\x02", "a Python pickle", PANDAS),
    (b"\x80\x03", "a Python pickle", PANDAS),
    (b"\x80\x04", "a Python pickle", PANDAS),
    (b"\x80\x05", "a Python pickle", PANDAS),
    (b"SQLite format 3\0", "an SQLite database", SQLITE),
    (b"\xd0\xcf\x11\xe0", "an Excel or Word document", EXCEL),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", TO_PARQUET),
    (b"\x93NUMPY", "a NumPy array", TO_PARQUET),
    (b"Obj\x01", "an Avro file", TO_PARQUET),
    (b"ORC\x0a", "an ORC file", TO_PARQUET),
    (
        b"%PDF-",
        "a PDF document",
        "write its text into a .txt file",
    ),
    (b"GGUF", "a GGUF model", "name a file of rows"),
    (
        b"version https://git-lfs.github.com/spec/",
        "a Git LFS pointer and not the file",
        "fetch the file with `git lfs pull`",
    ),
];

impl Kind {
    /// `begin`: the first bytes, [`N_SNIFFED`] where there are so many.
    pub fn of(path: &Path, begin: &[u8]) -> Self {
        let is_skippable_frame =
            matches!(begin, [frame, 0x2a, 0x4d, 0x18, ..] if frame & 0xf0 == 0x50);
        if begin.starts_with(b"\x1f\x8b") {
            return Self::Gzip;
        }
        if begin.starts_with(b"\x28\xb5\x2f\xfd") || is_skippable_frame {
            return Self::Zstd;
        }
        // a text may begin with these letters, but no JSON does
        if begin.starts_with(b"PAR1") && (begin.get(4) == Some(&0x15) || !is_words(path)) {
            return Self::Parquet;
        }
        if begin.get(257..262) == Some(b"ustar") {
            return Self::Refused("a tar archive", UNPACK);
        }
        if begin.starts_with(b"PK\x03\x04") && contains(begin, b"[Content_Types].xml") {
            return Self::Refused("an Excel or Word document", EXCEL);
        }
        let begins = |(magic, ..): &&(&[u8], _, _)| begin.starts_with(magic);
        match REFUSED.iter().find(begins) {
            Some((_, what, remedy)) => Self::Refused(what, remedy),
            None if is_web_page(begin) && !is_words(path) => Self::Refused("a web page", DOWNLOAD),
            None => Self::Text,
        }
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn is_web_page(begin: &[u8]) -> bool {
    let begin = begin.trim_ascii_start();
    let begins =
        |tag: &[u8]| begin.len() >= tag.len() && begin[..tag.len()].eq_ignore_ascii_case(tag);
    begins(b"<!doctype html") || begins(b"<html")
}

/// Files whose text is no JSON, by their ending.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum TextKind {
    Lines,
    Csv,
    Tsv,
    Json,
}

impl TextKind {
    /// By the ending, before that of the compression.
    pub fn of(path: &Path) -> Self {
        match FileKind::of(path) {
            Some(FileKind::Text) => Self::Lines,
            Some(FileKind::Table) if ending(path) == "tsv" => Self::Tsv,
            Some(FileKind::Table) => Self::Csv,
            Some(FileKind::Json | FileKind::Parquet) | None => Self::Json,
        }
    }
}

fn is_words(path: &Path) -> bool {
    TextKind::of(path) != TextKind::Json
}

/// Whether the lines of the file are its rows, whatever they hold.
pub fn is_text(path: &Path) -> bool {
    TextKind::of(path) == TextKind::Lines
}
