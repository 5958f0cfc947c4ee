//! Tokenises the training rows, or the held-out ones, and counts what becomes of them.

use crate::store::{Row, TokenWriter};
use crate::{Encoder, Error, Example, FitCounts, Limits, LostEnds, Record, Result, TrainOn};
use rayon::prelude::*;

/// Makes the examples of a record.
pub type Encode<T, const N: usize> = fn(&Encoder, &T, TrainOn) -> Result<Vec<[Example; N]>>;

/// How records become rows of token ids.
pub(super) struct Rule<T, const N: usize> {
    pub encode: Encode<T, N>,
    pub train_on: TrainOn,
    pub limits: Limits,
    /// Whether the prompts of rows are kept as text; held-out rows are their prompts alone then
    pub keeps_prompts: bool,
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
    Memory(Vec<Row<N>>),
    File(TokenWriter),
}

impl<const N: usize> Sink<N> {
    fn add(&mut self, row: Row<N>) -> Result<()> {
        match self {
            Self::Memory(rows) => rows.push(row),
            Self::File(writer) => writer.add(&row)?,
        }
        Ok(())
    }

    pub fn into_rows(self) -> Vec<Row<N>> {
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
                    .filter(|e| rule.limits.has_answers && e.ids.len() <= rule.limits.max_len);
                whole.for_each(|example| self.labels.add(example, eos));
                let fitted = self.fitted.fit(row, rule.limits);
                let fitted = fitted.map_err(|error| record.prompt().origin.locate(error))?;
                let Some(examples) = fitted else { continue };
                if rule.limits.has_answers {
                    examples.iter().for_each(|e| self.ends.add(e, eos));
                }
                let prompt = record.prompt();
                let prompt = rule.keeps_prompts.then(|| Box::new(prompt.clone()));
                self.sink.add(Row { examples, prompt })?;
            }
        }
        Ok(())
    }

    /// Adds the prompts of records as text alone. Each is encoded once here, so that an error can
    /// name its file and row. Notes on the prompts are printed later, when they are used.
    pub fn add_prompts<T: Record>(&mut self, records: &[T]) -> Result<()> {
        let encoder = self.encoder.apart();
        let encode = |record: &T| encoder.prompt(record.prompt()).map(drop);
        let encoded: Vec<Result<()>> = records.par_iter().map(encode).collect();
        encoded.into_iter().collect::<Result<()>>()?;
        for record in records {
            let prompt = record.prompt();
            let none = |_| Example {
                key: prompt.key(),
                source: prompt.origin.source(),
                ..Example::new(Vec::new(), 0)
            };
            self.sink.add(Row {
                examples: std::array::from_fn(none),
                prompt: Some(Box::new(prompt.clone())),
            })?;
        }
        Ok(())
    }

    /// The messages about the rows. `must_end`: truncation may not take the end of every answer.
    pub fn notes(&self, limits: Limits, must_end: bool) -> Result<Vec<String>> {
        let checked = self.labels.check_labels(self.encoder.ends().eos);
        checked.map_err(
            |Error(what)| match self.encoder.template().has_generation_tags() {
                true => Error(format!("{what}, or set data.train_on = \"last\"")),
                false => Error(what),
            },
        )?;
        let mut notes = self.encoder.row_notes(self.what);
        notes.extend(self.fitted.notes(self.what, limits));
        if must_end {
            self.ends.require(self.what)?;
        }
        notes.extend(self.ends.note(self.what));
        Ok(notes)
    }
}
