//! Reads all rows, to count them, and keeps their text while it is short enough.

use crate::cache::{FileState, file_states};
use crate::{Error, ReadSources, Record, Result, Selection, TooLong};
use row_files::TOO_BIG;

/// Bytes of a record beside its text.
const PER_RECORD: usize = 250;

/// All rows of a selection.
pub(super) struct Scanned<T> {
    /// None: their text is too long to be kept
    pub(super) records: Option<Vec<T>>,
    /// The key of each one's prompt
    pub(super) keys: Vec<u64>,
    /// Of the text of all
    pub(super) n_bytes: usize,
    /// The files before they were read
    pub(super) states: Vec<FileState>,
    pub(super) read: ReadSources,
}

/// Reads all rows, and says on stderr what was read. Records of more than `memory_mb` of text are
/// not kept. `count` gets each.
pub(super) fn scan<T: Record>(
    selection: &Selection,
    memory_mb: usize,
    too_long: TooLong,
    count: &mut dyn FnMut(&T),
) -> Result<Scanned<T>> {
    let most = memory_mb.saturating_mul(1 << 20);
    let (mut records, mut keys, mut n_bytes) = (Some(Vec::new()), Vec::new(), 0usize);
    let mut n_held = 0usize;
    let states = file_states(&selection.paths()?);
    let read = selection.for_each(&mut |record: T| {
        n_bytes = n_bytes.saturating_add(record.n_bytes());
        n_held = n_held.saturating_add(record.held_bytes());
        keys.push(record.prompt().key());
        count(&record);
        // an answer is there as a reference, too, and a record is several allocations
        if 2 * n_held + PER_RECORD * keys.len() > most {
            records = None;
        }
        if let Some(records) = &mut records {
            records.push(record);
        }
        Ok(())
    })?;
    read.report();
    if too_long == TooLong::Error && read.n_too_big > 0 {
        return Err(Error(format!(
            "{}: {} rows are {TOO_BIG}; remove them, or set data.too_long = \"drop\"",
            selection.shown(),
            read.n_too_big
        )));
    }
    Ok(Scanned {
        records,
        keys,
        n_bytes,
        states,
        read,
    })
}
