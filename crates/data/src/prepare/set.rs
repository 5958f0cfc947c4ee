//! Tokenises the training rows, or the held-out ones, and counts what becomes of them.

use crate::store::TokenWriter;
use crate::{Encoder, Error, Example, FitCounts, LostEnds, Record, Result, TooLong, TrainOn};
use rayon::prelude::*;

/// Makes the examples of a record.
pub type Encode<T, const N: usize> = fn(&Encoder, &T, TrainOn) -> Result<Vec<[Example; N]>>;

/// How records become rows of token ids.
pub(super) struct Rule<T, const N: usize> {
    pub encode: Encode<T, N>,
    pub train_on: TrainOn,
    /// The most tokens, and what happens to longer rows
    pub max_len: usize,
    pub too_long: TooLong,
}

/// Training rows, or held-out ones.
pub(super) struct Set<const N: usize> {
    what: &'static str,
    encoder: Encoder,
    fitted: FitCounts,
    /// Before and after truncation
    labels: LostEnds,
    ends: LostEnds,
    pub sink: Sink<N>,
}

/// Where rows go.
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
    /// No rows yet; `what` names them.
    pub fn new(what: &'static str, encoder: &Encoder, sink: Sink<N>) -> Self {
        Self {
            what,
            encoder: encoder.apart(),
            fitted: FitCounts::default(),
            labels: LostEnds::default(),
            ends: LostEnds::default(),
            sink,
        }
    }

    /// Tokenises the records.
    pub fn add<T: Record>(&mut self, rule: &Rule<T, N>, records: &[T]) -> Result<()> {
        let (encoder, eos) = (&self.encoder, self.encoder.ends().eos);
        let encode = |record: &T| (rule.encode)(encoder, record, rule.train_on);
        let encoded: Vec<Result<Vec<[Example; N]>>> = records.par_iter().map(encode).collect();
        for (rows, record) in encoded.into_iter().zip(records) {
            for row in rows? {
                // one that is too long may have been cut
                let whole = row
                    .iter()
                    .filter(|example| example.ids.len() <= rule.max_len);
                whole.for_each(|example| self.labels.add(example, eos));
                let fitted = self.fitted.fit(row, rule.max_len, rule.too_long);
                let fitted = fitted.map_err(|error| record.prompt().origin.locate(error))?;
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

    /// The messages about the rows. `must_end`: truncation may not take the end of every answer.
    pub fn notes(&self, max_len: usize, must_end: bool) -> Result<Vec<String>> {
        let checked = self.labels.check_labels(self.encoder.ends().eos);
        checked.map_err(
            |Error(what)| match self.encoder.template().has_generation_tags() {
                true => Error(format!("{what}, or set data.train_on = \"last\"")),
                false => Error(what),
            },
        )?;
        let mut notes = self.encoder.row_notes(self.what);
        notes.extend(self.fitted.notes(self.what, max_len));
        if must_end {
            self.ends.require(self.what)?;
        }
        notes.extend(self.ends.note(self.what));
        Ok(notes)
    }
}
