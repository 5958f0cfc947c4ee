//! The header of a page: the sizes that must be known before the page is decompressed, which the
//! library does not show. Thrift's compact protocol.

use std::io::{self, Read};

/// Structures within structures in a header; a page's have three.
const MAX_DEPTH: usize = 8;

/// Sizes of a page.
#[derive(Debug, Default, PartialEq)]
pub(super) struct PageHeader {
    kind: i64,
    pub out_bytes: i64,
    pub stored_bytes: i64,
    pub n_values: u64,
    pub is_dictionary: bool,
    /// Of a page of version 2: bytes of its levels, which are not compressed, and whether the rest
    /// is
    pub levels_bytes: Option<(i64, bool)>,
}

impl PageHeader {
    /// Reads a header byte by byte and not a byte more.
    pub fn read(reader: &mut dyn Read) -> Result<Self, String> {
        let mut header = Self {
            stored_bytes: -1,
            out_bytes: -1,
            ..Self::default()
        };
        let mut thrift = Thrift { reader };
        thrift
            .fields(0, &mut |thrift, id, kind| header.field(thrift, id, kind))
            .map_err(|e| format!("a page header cannot be read: {e}"))?;
        header.is_dictionary = header.kind == 2;
        Ok(header)
    }

    /// Whether the page holds no values: an index.
    pub fn is_skipped(&self) -> bool {
        self.kind == 1
    }

    fn field(&mut self, thrift: &mut Thrift, id: i64, kind: u8) -> io::Result<()> {
        match (id, kind) {
            (1, INT_32) => self.kind = thrift.signed()?,
            (2, INT_32) => self.out_bytes = thrift.signed()?,
            (3, INT_32) => self.stored_bytes = thrift.signed()?,
            (5 | 7, STRUCT) => thrift.fields(1, &mut |thrift, id, kind| match (id, kind) {
                (1, INT_32) => {
                    self.n_values = u64::try_from(thrift.signed()?).unwrap_or(u64::MAX);
                    Ok(())
                }
                _ => thrift.skip(kind, 1),
            })?,
            (8, STRUCT) => {
                let (mut n_levels, mut is_compressed) = (0_i64, true);
                thrift.fields(1, &mut |thrift, id, kind| {
                    match (id, kind) {
                        (1, INT_32) => {
                            self.n_values = u64::try_from(thrift.signed()?).unwrap_or(u64::MAX);
                        }
                        (5 | 6, INT_32) => {
                            n_levels = n_levels.saturating_add(thrift.signed()?);
                        }
                        (7, FALSE) => is_compressed = false,
                        _ => thrift.skip(kind, 1)?,
                    }
                    Ok(())
                })?;
                self.levels_bytes = Some((n_levels, is_compressed));
            }
            _ => thrift.skip(kind, 0)?,
        }
        Ok(())
    }
}

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const INT_16: u8 = 4;
const INT_32: u8 = 5;
const INT_64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const STRUCT: u8 = 12;

struct Thrift<'a> {
    reader: &'a mut dyn Read,
}

type Field<'f> = dyn FnMut(&mut Thrift, i64, u8) -> io::Result<()> + 'f;

impl Thrift<'_> {
    /// Calls `field(id, type)`, which reads the value, for each field of a structure.
    fn fields(&mut self, depth: usize, field: &mut Field) -> io::Result<()> {
        if depth > MAX_DEPTH {
            return Err(io::Error::other("it is nested too deeply"));
        }
        let mut id = 0;
        loop {
            let byte = self.byte()?;
            if byte == 0 {
                return Ok(());
            }
            id = match byte >> 4 {
                0 => self.signed()?,
                delta => id + i64::from(delta),
            };
            field(self, id, byte & 0x0f)?;
        }
    }

    /// Passes over a value.
    fn skip(&mut self, kind: u8, depth: usize) -> io::Result<()> {
        match kind {
            TRUE | FALSE => Ok(()),
            BYTE => self.byte().map(drop),
            INT_16 | INT_32 | INT_64 => self.unsigned().map(drop),
            DOUBLE => self.pass(8),
            BINARY => {
                let n = self.unsigned()?;
                self.pass(n)
            }
            LIST | SET => {
                let byte = self.byte()?;
                let n = match byte >> 4 {
                    15 => self.unsigned()?,
                    n => u64::from(n),
                };
                for _ in 0..n {
                    match byte & 0x0f {
                        // in a list a boolean is a byte
                        TRUE | FALSE => self.byte().map(drop)?,
                        kind => self.skip(kind, depth + 1)?,
                    }
                }
                Ok(())
            }
            STRUCT => self.fields(depth + 1, &mut |thrift, _, kind| {
                thrift.skip(kind, depth + 1)
            }),
            _ => Err(io::Error::other(format!("it has a value of type {kind}"))),
        }
    }

    fn pass(&mut self, n: u64) -> io::Result<()> {
        match io::copy(&mut (&mut *self.reader).take(n), &mut io::sink())? == n {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.reader.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    fn unsigned(&mut self) -> io::Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(io::Error::other("it has a number of too many bytes"))
    }

    fn signed(&mut self) -> io::Result<i64> {
        let value = self.unsigned()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }
}
