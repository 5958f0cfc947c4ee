//! Tokenises records as they come, some at a time, into the training and the held-out rows.

use super::held_out::Split;
use super::look::Look;
use super::set::{Rule, Set, Sink};
use crate::{Encoder, Record, Result};

/// Text of the records that are tokenised together, and how many they are.
const CHUNK_BYTES: usize = 4 << 20;
const CHUNK_ROWS: usize = 4096;

/// Rows from which on their preparation shows its progress.
const MANY: usize = 20_000;

/// The training rows and the held-out ones, while they are made.
pub(super) struct Sets<'a, T, const N: usize> {
    rule: Rule<T, N>,
    look: &'a mut dyn Look<T>,
    /// Training, held out
    sets: [Set<N>; 2],
    /// Records that wait to be tokenised
    chunks: [Vec<T>; 2],
    n_bytes: usize,
    /// The most held-out rows, and how many of them are kept as text
    max_held: usize,
    max_shown: usize,
    n_held: usize,
    shown: Vec<T>,
    progress: Option<run::Progress>,
    n_done: usize,
}

/// All rows.
pub(super) struct Finished<T, const N: usize> {
    /// The messages about the rows
    pub notes: Vec<String>,
    /// The held-out records, or the first of them
    pub shown: Vec<T>,
    /// Training, held out
    pub sinks: [Sink<N>; 2],
}

impl<'a, T: Record, const N: usize> Sets<'a, T, N> {
    /// `most`: held-out rows, and those that are kept as text.
    pub fn new(
        rule: Rule<T, N>,
        look: &'a mut dyn Look<T>,
        encoder: &Encoder,
        [train, held_out]: [Sink<N>; 2],
        n_rows: usize,
        most: (usize, usize),
    ) -> Self {
        Self {
            rule,
            look,
            sets: [
                Set::new("training", encoder, train),
                Set::new("held-out", encoder, held_out),
            ],
            chunks: [Vec::new(), Vec::new()],
            n_bytes: 0,
            max_held: most.0,
            max_shown: most.1,
            n_held: 0,
            shown: Vec::new(),
            progress: (n_rows >= MANY).then(|| run::Progress::new("tokenise", n_rows as u64)),
            n_done: 0,
        }
    }

    /// Adds a record.
    pub fn add(&mut self, record: T, is_held: bool) -> Result<()> {
        if is_held && self.n_held >= self.max_held {
            self.n_done += 1;
            return Ok(());
        }
        self.n_held += usize::from(is_held);
        self.look.see(&record, is_held);
        if is_held && !self.rule.keeps_prompts && self.shown.len() < self.max_shown {
            self.shown.push(record.clone());
        }
        self.n_bytes += record.held_bytes();
        self.chunks[usize::from(is_held)].push(record);
        let n_waiting: usize = self.chunks.iter().map(Vec::len).sum();
        match self.n_bytes > CHUNK_BYTES || n_waiting > CHUNK_ROWS {
            true => self.flush(),
            false => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<()> {
        self.n_bytes = 0;
        let [train, held_out] = &mut self.sets;
        train.add(&self.rule, &self.chunks[0])?;
        match self.rule.keeps_prompts {
            true => held_out.add_prompts(&self.chunks[1])?,
            false => held_out.add(&self.rule, &self.chunks[1])?,
        }
        for chunk in &mut self.chunks {
            self.n_done += chunk.len();
            chunk.clear();
        }
        if let Some(progress) = &mut self.progress {
            progress.update(self.n_done as u64, 0, "");
        }
        Ok(())
    }

    /// Tokenises the last records. `must_end`: truncation may not take the end of every training
    /// answer.
    pub fn finish(mut self, must_end: bool) -> Result<Finished<T, N>> {
        self.flush()?;
        if let Some(progress) = &mut self.progress {
            progress.finish("");
        }
        let limits = self.rule.limits;
        let [train, held_out] = &self.sets;
        let mut notes = self.look.finish()?;
        notes.extend(train.notes(limits, must_end)?);
        notes.extend(held_out.notes(limits, false)?);
        Ok(Finished {
            notes,
            shown: self.shown,
            sinks: self.sets.map(|set| set.sink),
        })
    }
}

impl<T, const N: usize> Finished<T, N> {
    /// Prints the messages about the rows on stderr.
    pub fn report(&self, split: &Split) {
        for note in self.notes.iter().chain(&split.note) {
            run::say!("{note}");
        }
    }
}
