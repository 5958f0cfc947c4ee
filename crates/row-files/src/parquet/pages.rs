//! The pages of a column chunk, checked by their headers before they are decompressed: no page
//! is larger than [`MAX_PAGE_BYTES`], and no small page gives much more than its header says or
//! its size can hold.

use super::page_header::PageHeader;
use crate::decompress::is_bomb;
use parquet::basic::Compression;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{ChunkReader, SerializedPageReader};
use std::cell::Cell;
use std::fs::File;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The largest page, decompressed.
const MAX_PAGE_BYTES: u64 = 512 << 20;

/// The legacy codec LZ4 decompresses without a bound, at most 255 times the size.
const MAX_LZ4_BYTES: u64 = 16 << 20;

/// Values of a list that a chunk may hold beyond 300 for each stored byte.
const FREE_VALUES: u64 = 16 << 20;

/// Bytes of the pages of a file so far.
#[derive(Default)]
pub(super) struct PageBytes {
    stored: AtomicU64,
    out: AtomicU64,
}

/// Pages in their order, each checked first.
pub(super) struct CheckedPages {
    file: Arc<File>,
    inner: SerializedPageReader<File>,
    total: Arc<PageBytes>,
    compression: Compression,
    is_repeated: bool,
    /// Where the next header is, and where the chunk ends
    offset: u64,
    end: u64,
    n_values: u64,
    n_stored: u64,
}

impl CheckedPages {
    pub fn new(
        file: &Arc<File>,
        chunk: &ColumnChunkMetaData,
        n_rows: usize,
        total: &Arc<PageBytes>,
    ) -> Result<Self> {
        // checked here because `byte_range` panics
        let begin = chunk.dictionary_page_offset();
        let begin = begin.unwrap_or_else(|| chunk.data_page_offset());
        let (Ok(offset), Ok(n_bytes)) =
            (u64::try_from(begin), u64::try_from(chunk.compressed_size()))
        else {
            return Err(error("a column chunk has a negative offset or size"));
        };
        let end = offset.saturating_add(n_bytes);
        if end > file.metadata()?.len() {
            return Err(error("a column chunk ends beyond the file"));
        }
        Ok(Self {
            file: Arc::clone(file),
            inner: SerializedPageReader::new(Arc::clone(file), chunk, n_rows, None)?,
            total: Arc::clone(total),
            compression: chunk.compression(),
            is_repeated: chunk.column_descr().max_rep_level() > 0,
            offset,
            end,
            n_values: 0,
            n_stored: 0,
        })
    }

    /// Checks the pages up to the next one that the inner reader gives.
    fn check_next(&mut self) -> Result<()> {
        while self.offset < self.end {
            let counted = Cell::new(0);
            let mut reader = Counted(self.file.get_read(self.offset)?, &counted);
            let header = PageHeader::read(&mut reader).map_err(|e| error(&e))?;
            self.offset += counted.get();
            let stored = u64::try_from(header.stored_bytes).unwrap_or(u64::MAX);
            let begin = self.offset;
            if stored > self.end - begin.min(self.end) {
                return Err(error("a page ends beyond its column"));
            }
            self.offset += stored;
            if header.is_skipped() {
                continue;
            }
            return self.check(&header, begin, stored);
        }
        Ok(())
    }

    fn check(&mut self, header: &PageHeader, begin: u64, stored: u64) -> Result<()> {
        let out = u64::try_from(header.out_bytes).unwrap_or(u64::MAX);
        if out > MAX_PAGE_BYTES {
            let megabytes = out >> 20;
            return Err(error(&format!(
                "a page of {megabytes} MiB, which is more than 512 MiB; \
                 write the file with smaller pages"
            )));
        }
        let all_stored = self.total.stored.fetch_add(stored, Ordering::Relaxed) + stored;
        let all_out = self.total.out.fetch_add(out, Ordering::Relaxed) + out;
        self.n_values = self.n_values.saturating_add(header.n_values);
        self.n_stored += stored;
        let values_allowed = FREE_VALUES + 300 * self.n_stored;
        // a value of a dictionary takes a byte at least
        let too_many = header.is_dictionary && header.n_values > out;
        if is_bomb(all_out, all_stored)
            || too_many
            || (self.is_repeated && self.n_values > values_allowed)
        {
            return Err(error("pages that expand to more than 300 times their size"));
        }
        let is_plain = header
            .levels_bytes
            .is_some_and(|(_, is_compressed)| !is_compressed);
        if is_plain || self.compression == Compression::UNCOMPRESSED {
            return Ok(());
        }
        let levels = header
            .levels_bytes
            .map_or(0, |(n, _)| n.max(0) as u64)
            .min(stored);
        let data = || {
            self.file
                .get_bytes(begin + levels, (stored - levels) as usize)
        };
        let allowed = out.saturating_sub(levels) + 1;
        let n_out = match self.compression {
            Compression::GZIP(_) => {
                read_up_to(flate2::read::MultiGzDecoder::new(&data()?[..]), allowed)?
            }
            Compression::BROTLI(_) => {
                read_up_to(brotli::Decompressor::new(&data()?[..], 1 << 16), allowed)?
            }
            Compression::LZ4 if stored > MAX_LZ4_BYTES => {
                return Err(error("an LZ4 page of more than 16 MiB"));
            }
            // these decompress into as many bytes as the header says
            _ => 0,
        };
        match n_out < allowed {
            true => Ok(()),
            false => Err(error("a page that is larger than its header says")),
        }
    }
}

/// How many bytes there are; `limit` for more.
fn read_up_to(reader: impl Read, limit: u64) -> Result<u64> {
    Ok(std::io::copy(
        &mut reader.take(limit),
        &mut std::io::sink(),
    )?)
}

fn error(what: &str) -> ParquetError {
    ParquetError::General(what.to_string())
}

/// Counts what is read.
struct Counted<'a, R>(R, &'a Cell<u64>);

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.0.read(buffer)?;
        self.1.set(self.1.get() + n as u64);
        Ok(n)
    }
}

impl Iterator for CheckedPages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for CheckedPages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        self.check_next()?;
        self.inner.get_next_page()
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.inner.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        Err(error("pages are not skipped"))
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.inner.at_record_boundary()
    }
}
