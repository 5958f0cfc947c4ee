//! Tokenised rows: in memory, or in a file of which only the rows that are asked for are read.
//!
//! The file holds for each example, as 32-bit little-endian numbers: its number of ids, the length
//! of its prompt, the number of its context ranges, the low and high half of its key, the ranges
//! (start, end), and the ids. Where the prompt is kept, a byte says whether it was a transcript,
//! and its JSON follows. Each row has a CRC-32C, which is checked when the row is read.

use crate::{Error, Example, Mixture, Origin, Prompt, Result};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The size of an example.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// Its tokens.
    pub n_tokens: u32,
    /// Tokens of its prompt.
    pub prompt_len: u32,
}

impl Shape {
    fn of(example: &Example) -> Self {
        Self {
            n_tokens: example.ids.len() as u32,
            prompt_len: example.prompt_len as u32,
        }
    }

    /// Its tokens.
    pub fn tokens(&self) -> usize {
        self.n_tokens as usize
    }
}

/// Examples that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Row<const N: usize> {
    pub examples: [Example; N],
    /// Their prompt as text, where that is kept.
    pub prompt: Option<Box<Prompt>>,
}

/// Rows of `N` examples that belong together: 1 for demonstrations, 2 for pairs.
pub struct Examples<const N: usize> {
    rows: Rows<N>,
    /// How often the rows of each source are visited
    weights: Vec<f64>,
}

enum Rows<const N: usize> {
    Memory(Vec<Row<N>>),
    File(TokenFile<N>),
}

impl<const N: usize> Examples<N> {
    /// Rows in memory.
    pub(crate) fn in_memory(rows: Vec<Row<N>>, weights: Vec<f64>) -> Self {
        Self {
            rows: Rows::Memory(rows),
            weights,
        }
    }

    /// Rows in a file.
    pub(crate) fn in_file(file: TokenFile<N>, weights: Vec<f64>) -> Self {
        Self {
            rows: Rows::File(file),
            weights,
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        match &self.rows {
            Rows::Memory(rows) => rows.len(),
            Rows::File(file) => file.index.len(),
        }
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The row of this number.
    ///
    /// Errors: the file cannot be read, or is damaged.
    pub fn get(&self, row: usize) -> Result<[Example; N]> {
        match &self.rows {
            Rows::Memory(rows) => Ok(rows[row].examples.clone()),
            Rows::File(file) => Ok(file.get(row)?.examples),
        }
    }

    /// The row of this number with its prompt.
    ///
    /// Errors: as [`get`](Self::get).
    pub fn row(&self, row: usize) -> Result<Row<N>> {
        match &self.rows {
            Rows::Memory(rows) => Ok(rows[row].clone()),
            Rows::File(file) => file.get(row),
        }
    }

    /// All rows.
    ///
    /// Errors: as [`get`](Self::get).
    pub fn into_rows(self) -> Result<Vec<Row<N>>> {
        match self.rows {
            Rows::Memory(rows) => Ok(rows),
            Rows::File(file) => (0..file.index.len()).map(|row| file.get(row)).collect(),
        }
    }

    /// The key of a row's prompt. Reads nothing.
    pub fn key(&self, row: usize) -> u64 {
        match &self.rows {
            Rows::Memory(rows) => rows[row].examples[0].key,
            Rows::File(file) => file.index[row].key,
        }
    }

    /// The sizes of a row's examples. Reads nothing.
    pub fn shape(&self, row: usize) -> [Shape; N] {
        match &self.rows {
            Rows::Memory(rows) => rows[row].examples.each_ref().map(Shape::of),
            Rows::File(file) => file.index[row].shapes,
        }
    }

    /// How often each row is visited in an epoch.
    pub fn mixture(&self) -> Mixture {
        let sources: Box<dyn Iterator<Item = u16>> = match &self.rows {
            Rows::Memory(rows) => Box::new(rows.iter().map(|row| row.examples[0].source)),
            Rows::File(file) => Box::new(file.index.iter().map(|entry| entry.source)),
        };
        Mixture::of_sources(sources, &self.weights)
    }
}

/// Where a row is in the file, and what it is.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Entry<const N: usize> {
    /// Of its first byte.
    offset: u64,
    n_bytes: u32,
    crc: u32,
    source: u16,
    key: u64,
    shapes: [Shape; N],
}

/// A file of rows and its index.
pub(crate) struct TokenFile<const N: usize> {
    path: PathBuf,
    file: File,
    index: Vec<Entry<N>>,
}

impl<const N: usize> TokenFile<N> {
    /// Opens the file. `index`: what [`TokenWriter::finish`] returned.
    pub fn open(path: &Path, index: &[u8]) -> Result<Self> {
        let damaged = || Error(format!("{}: does not belong to its index", path.display()));
        let file = File::open(path).map_err(|e| file_error(path, &e))?;
        let entry_bytes = SHAPES + 8 * N;
        if !index.len().is_multiple_of(entry_bytes) {
            return Err(damaged());
        }
        let index: Vec<Entry<N>> = index.chunks_exact(entry_bytes).map(entry).collect();
        let end = index.last().map_or(0, |e| e.offset + u64::from(e.n_bytes));
        match file.metadata() {
            Ok(metadata) if metadata.len() == end => Ok(Self {
                path: path.to_path_buf(),
                file,
                index,
            }),
            _ => Err(damaged()),
        }
    }

    fn get(&self, row: usize) -> Result<Row<N>> {
        let entry = &self.index[row];
        let mut bytes = vec![0; entry.n_bytes as usize];
        let read = self.file.read_exact_at(&mut bytes, entry.offset);
        read.map_err(|e| file_error(&self.path, &e))?;
        let damaged = || {
            Error(format!(
                "{}: row {} is damaged; delete the directory, and the rows are prepared again",
                self.path.display(),
                row + 1
            ))
        };
        if crc32c::crc32c(&bytes) != entry.crc {
            return Err(damaged());
        }
        let (words, _) = bytes.as_chunks::<4>();
        let mut n_read = 0;
        let mut next = || {
            n_read += 1;
            words
                .get(n_read - 1)
                .map_or(0, |word| u32::from_le_bytes(*word))
        };
        let examples = std::array::from_fn(|_| {
            let (n_ids, prompt_len, n_context) = (next(), next(), next());
            let key = u64::from(next()) | u64::from(next()) << 32;
            let context = (0..n_context).map(|_| next() as usize..next() as usize);
            Example {
                context: context.collect(),
                ids: (0..n_ids).map(|_| next()).collect(),
                prompt_len: prompt_len as usize,
                key,
                source: entry.source,
            }
        });
        let prompt = match bytes.get(4 * n_read..).and_then(<[u8]>::split_first) {
            None => None,
            Some((transcript, json)) => {
                let mut prompt: Prompt = serde_json::from_slice(json).map_err(|_| damaged())?;
                let origin = Origin::default().of_source(entry.source);
                prompt.origin = match transcript {
                    0 => origin,
                    _ => origin.of_transcript(),
                };
                Some(Box::new(prompt))
            }
        };
        Ok(Row { examples, prompt })
    }
}

/// Where the shapes of an entry of the index begin.
const SHAPES: usize = 26;

fn entry<const N: usize>(bytes: &[u8]) -> Entry<N> {
    let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
    Entry {
        offset: u64::from(word(0)) | u64::from(word(4)) << 32,
        n_bytes: word(8),
        crc: word(12),
        source: u16::from_le_bytes([bytes[16], bytes[17]]),
        key: u64::from(word(18)) | u64::from(word(22)) << 32,
        shapes: std::array::from_fn(|i| Shape {
            n_tokens: word(SHAPES + 8 * i),
            prompt_len: word(SHAPES + 4 + 8 * i),
        }),
    }
}

fn file_error(path: &Path, error: &std::io::Error) -> Error {
    let advice = match error.kind() {
        std::io::ErrorKind::StorageFull => "; set WICK_CACHE to a directory on another disk",
        _ => "",
    };
    Error(format!("{}: {error}{advice}", path.display()))
}

/// Writes a file of rows.
pub(crate) struct TokenWriter {
    path: PathBuf,
    file: BufWriter<File>,
    n_bytes: u64,
    index: Vec<u8>,
}

impl TokenWriter {
    /// A new file.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).map_err(|e| file_error(path, &e))?;
        Ok(Self {
            path: path.to_path_buf(),
            file: BufWriter::with_capacity(1 << 20, file),
            n_bytes: 0,
            index: Vec::new(),
        })
    }

    /// Adds a row.
    pub fn add<const N: usize>(&mut self, row: &Row<N>) -> Result<()> {
        let mut words: Vec<u32> = Vec::new();
        let Row { examples, prompt } = row;
        for example in examples {
            let Example {
                ids,
                prompt_len,
                context,
                key,
                ..
            } = example;
            words.extend([
                ids.len() as u32,
                *prompt_len as u32,
                context.len() as u32,
                *key as u32,
                (*key >> 32) as u32,
            ]);
            words.extend(context.iter().flat_map(|r| [r.start as u32, r.end as u32]));
            words.extend(ids);
        }
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        if let Some(prompt) = prompt {
            bytes.push(u8::from(prompt.origin.is_transcript()));
            serde_json::to_writer(&mut bytes, prompt).map_err(|e| Error(e.to_string()))?;
        }
        let written = self.file.write_all(&bytes);
        written.map_err(|e| file_error(&self.path, &e))?;
        self.index.extend(self.n_bytes.to_le_bytes());
        self.index.extend((bytes.len() as u32).to_le_bytes());
        self.index.extend(crc32c::crc32c(&bytes).to_le_bytes());
        self.index.extend(examples[0].source.to_le_bytes());
        self.index.extend(examples[0].key.to_le_bytes());
        for shape in examples.iter().map(Shape::of) {
            self.index.extend(shape.n_tokens.to_le_bytes());
            self.index.extend(shape.prompt_len.to_le_bytes());
        }
        self.n_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Writes the rest, and returns the index.
    pub fn finish(self) -> Result<Vec<u8>> {
        let fail = |e: &std::io::Error| file_error(&self.path, e);
        let file = self.file.into_inner().map_err(|e| fail(e.error()))?;
        file.sync_all().map_err(|e| fail(&e))?;
        Ok(self.index)
    }
}
