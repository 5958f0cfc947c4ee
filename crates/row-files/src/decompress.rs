//! Compressed files: gzip of one member or several, zstd of one frame or several.

use crate::error::{Result, file_error, unreadable};
use crate::kind::N_SNIFFED;
use flate2::bufread::GzDecoder;
use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

/// The memory that a zstd frame may ask for, as a power of two: 128 MiB, as for the program zstd.
const ZSTD_WINDOW_LOG: u32 = 27;

/// From so many bytes on, what comes out is compared with what went in.
const RATIO_FROM_BYTES: u64 = 64 << 20;

/// How many times the stored bytes may come out. Text compresses to a third or a tenth.
pub(crate) const MAX_RATIO: u64 = 300;

#[derive(Clone, Copy)]
pub(crate) enum Codec {
    Gzip,
    Zstd,
}

/// Whether so much came out of so little that the data must be made to fill memory or disk.
pub(crate) fn is_bomb(n_out: u64, n_in: u64) -> bool {
    n_out > RATIO_FROM_BYTES && n_out / MAX_RATIO > n_in
}

/// What the stored bytes decompress to. `n_stored` counts them as they are read.
pub(crate) fn decompress<'a>(
    path: &Path,
    codec: Codec,
    stored: &'a mut dyn BufRead,
    n_stored: Rc<Cell<u64>>,
) -> Result<BufReader<Box<dyn Read + 'a>>> {
    let inner: Box<dyn Read + 'a> = match codec {
        Codec::Gzip => Box::new(Gunzip::Begin(stored)),
        Codec::Zstd => {
            let decoder = zstd::Decoder::with_buffer(stored).and_then(|mut decoder| {
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Ok(decoder)
            });
            Box::new(decoder.map_err(|e| unreadable(path, &e))?)
        }
    };
    let mut checked = Checked {
        inner,
        codec,
        n_stored,
        n_out: 0,
    };
    // read here, so that the first buffer has enough to tell what it is
    let mut begin = Vec::new();
    let first = checked.by_ref().take(N_SNIFFED).read_to_end(&mut begin);
    first.map_err(|e| file_error(path, format_args!("cannot be read: {e}")))?;
    let whole = io::Cursor::new(begin).chain(checked);
    Ok(BufReader::with_capacity(1 << 16, Box::new(whole)))
}

/// Refuses data that expand without bounds, and names what is wrong with damaged data.
struct Checked<'a> {
    inner: Box<dyn Read + 'a>,
    codec: Codec,
    n_stored: Rc<Cell<u64>>,
    n_out: u64,
}

impl Read for Checked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer).map_err(|e| self.described(&e))?;
        self.n_out += n as u64;
        match is_bomb(self.n_out, self.n_stored.get()) {
            false => Ok(n),
            true => Err(io::Error::other(format!(
                "it decompresses to more than {MAX_RATIO} times its size; if that is meant, \
                 decompress the file first"
            ))),
        }
    }
}

impl Checked<'_> {
    fn described(&self, error: &io::Error) -> io::Error {
        let (name, unpack) = match self.codec {
            Codec::Gzip => ("gzip", "gunzip"),
            Codec::Zstd => ("zstd", "zstd -d --long=31"),
        };
        let text = error.to_string();
        io::Error::other(match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                format!("the {name} data ends early; the file is truncated")
            }
            _ if text.contains("too much memory") => {
                format!("the {name} data needs more than 128 MiB; decompress it with `{unpack}`")
            }
            _ if text.contains("nknown frame") => {
                "what follows the zstd data is no zstd; the file is damaged".to_string()
            }
            _ if error.get_ref().is_some_and(|e| e.is::<NotGzip>()) => text,
            _ => format!("the {name} data is damaged: {text}"),
        })
    }
}

/// gzip members one after the other, and zeros after the last as tapes have them.
enum Gunzip<R> {
    Begin(R),
    Member(GzDecoder<R>),
    End,
}

/// Other bytes follow a member.
#[derive(Debug, thiserror::Error)]
#[error("what follows the gzip data is no gzip; the file is damaged")]
struct NotGzip;

impl<R: BufRead> Read for Gunzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match std::mem::replace(self, Self::End) {
                Self::Begin(inner) => *self = Self::Member(GzDecoder::new(inner)),
                Self::End => return Ok(0),
                Self::Member(mut decoder) => {
                    let n = decoder.read(buffer)?;
                    if n > 0 || buffer.is_empty() {
                        *self = Self::Member(decoder);
                        return Ok(n);
                    }
                    let mut inner = decoder.into_inner();
                    if let Some(byte) = byte_after_zeros(&mut inner)? {
                        if byte != 0x1f {
                            return Err(io::Error::other(NotGzip));
                        }
                        *self = Self::Begin(inner);
                    }
                }
            }
        }
    }
}

/// The next byte that is not zero; it is not consumed.
fn byte_after_zeros(reader: &mut impl BufRead) -> io::Result<Option<u8>> {
    loop {
        let bytes = reader.fill_buf()?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let n_zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        let found = bytes.get(n_zeros).copied();
        reader.consume(n_zeros);
        if found.is_some() {
            return Ok(found);
        }
    }
}
