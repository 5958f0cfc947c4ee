//! What the name of a data file says: what its rows are written as, and which split they are of.
//! The names of files on this disk and of files on the hub are read alike.

use std::path::Path;

/// What rows are written as, by the ending of a file's name. The first of two is preferred where
/// one has to be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    /// Columns, compressed by themselves
    Parquet,
    /// JSON, or JSON Lines
    Json,
    /// CSV or TSV
    Table,
    /// A row in each line
    Text,
}

/// The endings of data files, before that of a compression.
const ENDINGS: [(&str, FileKind); 8] = [
    ("json", FileKind::Json),
    ("jsonl", FileKind::Json),
    ("ndjson", FileKind::Json),
    ("txt", FileKind::Text),
    ("csv", FileKind::Table),
    ("tsv", FileKind::Table),
    ("parquet", FileKind::Parquet),
    ("pq", FileKind::Parquet),
];

/// Endings of compressed files.
const COMPRESSED: [&str; 4] = ["gz", "gzip", "zst", "zstd"];

/// The split of the rows to train on.
pub const TRAIN: &str = "train";

/// The splits, with the words that stand for each in the names of files and folders.
pub const SPLIT_WORDS: [(&str, &[&str]); 3] = [
    (TRAIN, &["train", "training"]),
    (
        "validation",
        &["validation", "valid", "dev", "val", "heldout", "holdout"],
    ),
    ("test", &["test", "testing", "eval", "evaluation"]),
];

impl FileKind {
    /// The kind of a file, also of a compressed one. None: it is no data file by its name.
    ///
    /// ```
    /// use row_files::FileKind;
    /// assert_eq!(FileKind::of("data/train.JSONL.gz"), Some(FileKind::Json));
    /// assert_eq!(FileKind::of("README.md"), None);
    /// ```
    pub fn of(path: impl AsRef<Path>) -> Option<Self> {
        let ending = ending(path.as_ref());
        let found = ENDINGS.iter().find(|(known, _)| *known == ending);
        found.map(|(_, kind)| *kind)
    }

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Json => "JSON",
            Self::Table => "CSV",
            Self::Text => "text",
        }
    }
}

/// The endings that are taken, for messages: `.json, …, .pq, or one of these with .gz, …`.
pub fn taken_endings() -> String {
    let dotted = |names: &[&str]| names.iter().map(|name| format!(".{name}")).collect();
    let plain: Vec<String> = dotted(&ENDINGS.map(|(ending, _)| ending));
    let compressed: Vec<String> = dotted(&COMPRESSED);
    let (plain, compressed) = (plain.join(", "), compressed.join(", "));
    format!("{plain}, or one of these with {compressed}")
}

/// The ending of a file's name in small letters, without that of its compression: `jsonl` of
/// `train.JSONL.gz`. Empty if there is none.
pub(crate) fn ending(path: &Path) -> String {
    let lower = |path: &Path| {
        let ending = path.extension().and_then(|e| e.to_str());
        ending.unwrap_or_default().to_ascii_lowercase()
    };
    let last = lower(path);
    match COMPRESSED.contains(&last.as_str()) {
        true => lower(Path::new(path.file_stem().unwrap_or_default())),
        false => last,
    }
}

/// The endings that a mistyped name is compared with.
pub(crate) fn all_endings() -> Vec<&'static str> {
    let plain = ENDINGS.iter().map(|(ending, _)| *ending);
    plain.chain(COMPRESSED).collect()
}
