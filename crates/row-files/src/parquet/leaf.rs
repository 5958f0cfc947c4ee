//! One column of stored values with their levels, a few records at a time.

use super::meaning::Meaning;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{AsBytes, DataType};
use parquet::errors::{ParquetError, Result};
use parquet::schema::types::ColumnDescriptor;
use serde_json::Value;

/// A column, at one of its values.
pub(super) struct Leaf {
    /// Its path, `messages.list.element.role`
    pub name: String,
    meaning: Meaning,
    /// Nobody reads the column, or nothing but what is JSON
    pub is_ignored: bool,
    max_def: i16,
    max_rep: i16,
    /// Records that are read at once
    n_at_once: usize,
    source: Source,
    defs: Vec<i16>,
    reps: Vec<i16>,
    /// The current value, of those that are read, and of those that are not null
    at: usize,
    at_stored: usize,
    n_read: usize,
}

/// Why a value is refused: the column's name is added to what is wrong with it.
pub(super) enum Fault {
    Value(String),
    File(ParquetError),
}

impl From<ParquetError> for Fault {
    fn from(error: ParquetError) -> Self {
        Self::File(error)
    }
}

/// A reader and the values that it read.
enum Source {
    Bool(Stored<parquet::data_type::BoolType>),
    Int32(Stored<parquet::data_type::Int32Type>),
    Int64(Stored<parquet::data_type::Int64Type>),
    Int96(Stored<parquet::data_type::Int96Type>),
    Float(Stored<parquet::data_type::FloatType>),
    Double(Stored<parquet::data_type::DoubleType>),
    Bytes(Stored<parquet::data_type::ByteArrayType>),
    Fixed(Stored<parquet::data_type::FixedLenByteArrayType>),
}

struct Stored<T: DataType> {
    reader: ColumnReaderImpl<T>,
    values: Vec<T::T>,
}

impl<T: DataType> Stored<T> {
    fn new(reader: ColumnReaderImpl<T>) -> Self {
        let values = Vec::new();
        Self { reader, values }
    }

    /// Returns records and levels.
    fn read(
        &mut self,
        n: usize,
        defs: &mut Vec<i16>,
        reps: &mut Vec<i16>,
    ) -> Result<(usize, usize)> {
        self.values.clear();
        defs.clear();
        reps.clear();
        let (defs, reps, values) = (Some(defs), Some(reps), &mut self.values);
        let (n_records, n_values, n_levels) = self.reader.read_records(n, defs, reps, values)?;
        Ok((n_records, n_levels.max(n_values)))
    }
}

impl Leaf {
    pub fn new(
        column: &ColumnDescriptor,
        (meaning, is_ignored): (Meaning, bool),
        reader: ColumnReader,
        n_at_once: usize,
    ) -> Self {
        Self {
            name: column.path().string(),
            meaning,
            is_ignored,
            max_def: column.max_def_level(),
            max_rep: column.max_rep_level(),
            n_at_once,
            source: match reader {
                ColumnReader::BoolColumnReader(reader) => Source::Bool(Stored::new(reader)),
                ColumnReader::Int32ColumnReader(reader) => Source::Int32(Stored::new(reader)),
                ColumnReader::Int64ColumnReader(reader) => Source::Int64(Stored::new(reader)),
                ColumnReader::Int96ColumnReader(reader) => Source::Int96(Stored::new(reader)),
                ColumnReader::FloatColumnReader(reader) => Source::Float(Stored::new(reader)),
                ColumnReader::DoubleColumnReader(reader) => Source::Double(Stored::new(reader)),
                ColumnReader::ByteArrayColumnReader(reader) => Source::Bytes(Stored::new(reader)),
                ColumnReader::FixedLenByteArrayColumnReader(reader) => {
                    Source::Fixed(Stored::new(reader))
                }
            },
            defs: Vec::new(),
            reps: Vec::new(),
            at: 0,
            at_stored: 0,
            n_read: 0,
        }
    }

    /// Goes to the next record. Errors: there is none, or the last one was not read to its end.
    pub fn begin_record(&mut self) -> Result<()> {
        if self.at < self.n_read {
            return match self.rep() {
                0 => Ok(()),
                _ => Err(mismatch()),
            };
        }
        (self.at, self.at_stored, self.n_read) = (0, 0, 0);
        loop {
            let (defs, reps) = (&mut self.defs, &mut self.reps);
            let (n_records, n_read) = match &mut self.source {
                Source::Bool(stored) => stored.read(self.n_at_once, defs, reps)?,
                Source::Int32(stored) => stored.read(self.n_at_once, defs, reps)?,
                Source::Int64(stored) => stored.read(self.n_at_once, defs, reps)?,
                Source::Int96(stored) => stored.read(self.n_at_once, defs, reps)?,
                Source::Float(stored) => stored.read(self.n_at_once, defs, reps)?,
                Source::Double(stored) => stored.read(self.n_at_once, defs, reps)?,
                Source::Bytes(stored) => stored.read(self.n_at_once, defs, reps)?,
                Source::Fixed(stored) => stored.read(self.n_at_once, defs, reps)?,
            };
            // the end of a record may be found without a value
            if n_read > 0 {
                self.n_read = n_read;
                return match self.rep() {
                    0 => Ok(()),
                    _ => Err(mismatch()),
                };
            }
            if n_records == 0 {
                let name = &self.name;
                return Err(ParquetError::General(format!(
                    "column {name:?} has fewer rows than the file"
                )));
            }
        }
    }

    /// The definition level of the current value.
    pub fn def(&self) -> i16 {
        match self.max_def {
            0 => 0,
            _ => self.defs.get(self.at).copied().unwrap_or(0),
        }
    }

    /// The repetition level of the current value; 0 after the last of a record.
    pub fn rep(&self) -> i16 {
        match self.max_rep {
            0 => 0,
            _ => self.reps.get(self.at).copied().unwrap_or(0),
        }
    }

    /// Goes beyond the current value.
    pub fn pass(&mut self) -> Result<()> {
        if self.at >= self.n_read {
            return Err(mismatch());
        }
        if self.def() == self.max_def {
            self.at_stored += 1;
        }
        self.at += 1;
        Ok(())
    }

    /// The current value, which is not null. Of an ignored column, true where it is no JSON.
    pub fn value(&mut self) -> std::result::Result<Value, Fault> {
        let (at, meaning) = (self.at_stored, self.meaning);
        if self.at >= self.n_read || self.def() != self.max_def {
            return Err(mismatch().into());
        }
        let value = match &self.source {
            Source::Bool(stored) => stored.values.get(at).map(|v| Ok(Value::from(*v))),
            Source::Int32(stored) => stored.values.get(at).map(|v| meaning.integer((*v).into())),
            Source::Int64(stored) => stored.values.get(at).map(|v| meaning.integer(*v)),
            Source::Int96(stored) => stored.values.get(at).map(|v| Meaning::int96(v.data())),
            Source::Float(stored) => stored.values.get(at).map(|v| Meaning::float((*v).into())),
            Source::Double(stored) => stored.values.get(at).map(|v| Meaning::float(*v)),
            Source::Bytes(stored) => stored.values.get(at).map(|v| meaning.bytes(v.as_bytes())),
            Source::Fixed(stored) => stored.values.get(at).map(|v| meaning.bytes(v.as_bytes())),
        };
        let value = match value.ok_or_else(mismatch)? {
            Err(_) if self.is_ignored => Value::Bool(true),
            value => value.map_err(Fault::Value)?,
        };
        self.pass()?;
        Ok(value)
    }
}

fn mismatch() -> ParquetError {
    ParquetError::General("the columns do not have the same rows".to_string())
}
