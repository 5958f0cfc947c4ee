//! Tokenises the training rows, or the held-out ones, and counts what becomes of them.

use super::Preparing;
use crate::store::TokenWriter;
use crate::{Encoder, Example, FitCounts, LostEnds, Record, Result};
use rayon::prelude::*;

/// Rows from which on their preparation shows its progress.
const MANY: usize = 20_000;

/// Training rows, or held-out ones.
pub(super) struct Set<const N: usize> {
    what: &'static str,
    must_end: bool,
    encoder: Encoder,
    fitted: FitCounts,
    /// Before and after truncation
    labels: LostEnds,
    ends: LostEnds,
    pub sink: Sink<N>,
}

pub(super) enum Sink<const N: usize> {
    Memory(Vec<[Example; N]>),
    File(TokenWriter),
}

impl<const N: usize> Sink<N> {
    pub fn into_rows(self) -> Vec<[Example; N]> {
        match self {
            Self::Memory(rows) => rows,
            Self::File(_) => Vec::new(),
        }
    }

    pub fn into_index(self) -> Result<Vec<u8>> {
        match self {
            Self::Memory(_) => Ok(Vec::new()),
            Self::File(writer) => writer.finish(),
        }
    }
}

impl<const N: usize> Set<N> {
    /// No rows yet; `what` names them. `must_end`: [`Preparing::must_end`].
    pub fn new(what: &'static str, must_end: bool, encoder: &Encoder, sink: Sink<N>) -> Self {
        Self {
            what,
            must_end,
            encoder: encoder.apart(),
            fitted: FitCounts::default(),
            labels: LostEnds::default(),
            ends: LostEnds::default(),
            sink,
        }
    }

    pub fn add<T: Record, const HELD_OUT: u8>(
        &mut self,
        how: &Preparing<T, N, HELD_OUT>,
        records: &[T],
    ) -> Result<()> {
        let (encoder, eos) = (&self.encoder, self.encoder.ends().eos);
        let encode = |record: &T| (how.encode)(encoder, record, how.train_on);
        let encoded: Vec<Result<Vec<[Example; N]>>> = records.par_iter().map(encode).collect();
        for rows in encoded {
            for row in rows? {
                row.iter().for_each(|example| self.labels.add(example, eos));
                let fitted = self
                    .fitted
                    .fit(row, how.config.max_len, how.config.too_long)?;
                let Some(row) = fitted else { continue };
                row.iter().for_each(|example| self.ends.add(example, eos));
                match &mut self.sink {
                    Sink::Memory(rows) => rows.push(row),
                    Sink::File(writer) => writer.add(&row)?,
                }
            }
        }
        Ok(())
    }

    /// What is to be said of the rows.
    pub fn notes<T, const HELD_OUT: u8>(
        &self,
        how: &Preparing<T, N, HELD_OUT>,
    ) -> Result<Vec<String>> {
        self.labels.check_labels(self.encoder.ends().eos)?;
        let mut notes = self.encoder.row_notes(self.what);
        notes.extend(self.fitted.notes(self.what, how.config.max_len));
        if self.must_end {
            self.ends.require(self.what)?;
        }
        notes.extend(self.ends.note(self.what));
        Ok(notes)
    }
}

/// Shown for many rows only.
pub(super) struct Progress {
    bar: Option<run::Progress>,
    n_done: usize,
}

impl Progress {
    pub fn new(n_rows: usize) -> Self {
        Self {
            bar: (n_rows >= MANY).then(|| run::Progress::new("tokenise", n_rows as u64)),
            n_done: 0,
        }
    }

    pub fn add(&mut self, n: usize) {
        self.n_done += n;
        if let Some(bar) = &mut self.bar {
            bar.update(self.n_done as u64, 0, "");
        }
    }

    pub fn finish(self) {
        if let Some(mut bar) = self.bar {
            bar.finish("");
        }
    }
}
