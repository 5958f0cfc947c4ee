//! A check of a GGUF file's alignment before candle reads the file: candle divides by the last
//! value of `general.alignment` without asking whether it is zero.

use std::io::{self, Read, Seek, SeekFrom};

/// Depth of nested lists; candle refuses lists less deep than that.
const MAX_DEPTH: usize = 128;

/// Whether any entry `general.alignment` is 0. A file that cannot be read to the end of its
/// metadata is left to candle, which reports what is wrong. Leaves the file at its start.
pub(crate) fn has_zero_alignment<R: Read + Seek>(file: &mut R) -> io::Result<bool> {
    let n_bytes = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    let found = Walk { file, n_bytes }.entries().unwrap_or(false);
    file.rewind()?;
    Ok(found)
}

struct Walk<'a, R> {
    file: &'a mut R,
    n_bytes: u64,
}

impl<R: Read + Seek> Walk<'_, R> {
    /// `None` where the file is malformed.
    fn entries(&mut self) -> Option<bool> {
        let mut magic_and_version = [0; 8];
        self.file.read_exact(&mut magic_and_version).ok()?;
        let wide = magic_and_version[4..] != [1, 0, 0, 0];
        let _n_tensors = self.length(wide)?;
        for _ in 0..self.length(wide)? {
            let key = self.length(wide)?;
            let is_alignment = self.is_next(key, b"general.alignment")?;
            let kind = self.number(4)?;
            match (is_alignment, size_of(kind)) {
                (true, Some(size)) if size <= 4 => {
                    if self.number(size)? == 0 {
                        return Some(true);
                    }
                }
                _ => self.skip_value(kind, wide, 0)?,
            }
        }
        Some(false)
    }

    fn skip_value(&mut self, kind: u64, wide: bool, depth: usize) -> Option<()> {
        if let Some(size) = size_of(kind) {
            return self.skip(size);
        }
        match kind {
            8 => {
                let n = self.length(wide)?;
                self.skip(n)
            }
            9 if depth < MAX_DEPTH => {
                let kind = self.number(4)?;
                let n = self.length(wide)?;
                if let Some(size) = size_of(kind) {
                    return self.skip(n.checked_mul(size)?);
                }
                (0..n).try_for_each(|_| self.skip_value(kind, wide, depth + 1))
            }
            _ => None,
        }
    }

    /// Reads `n` bytes. Whether they are `text`, but for trailing zeros, which candle drops.
    fn is_next(&mut self, n: u64, text: &[u8]) -> Option<bool> {
        if n > self.n_bytes {
            return None;
        }
        let mut bytes = vec![0; n as usize];
        self.file.read_exact(&mut bytes).ok()?;
        let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
        Some(bytes[..end] == *text)
    }

    fn length(&mut self, wide: bool) -> Option<u64> {
        self.number(if wide { 8 } else { 4 })
    }

    /// A little-endian number of up to 8 bytes.
    fn number(&mut self, n_bytes: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.file.read_exact(&mut bytes[..n_bytes as usize]).ok()?;
        Some(u64::from_le_bytes(bytes))
    }

    fn skip(&mut self, n: u64) -> Option<()> {
        let at = self.file.stream_position().ok()?;
        let to = at.checked_add(n).filter(|to| *to <= self.n_bytes)?;
        self.file
            .seek_relative(to.checked_sub(at)?.try_into().ok()?)
            .ok()
    }
}

/// Bytes of a value of one of ggml's scalar types.
fn size_of(kind: u64) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}
