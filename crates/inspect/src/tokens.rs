//! Token counts of records: of all, or of a sample at even distances where there are many.

use crate::item::Item;
use crate::lengths::Lengths;
use crate::reasons::Reasons;
use data::{Encoder, Example, Result, TrainOn};
use rayon::prelude::*;

/// Records of which the counts are kept. With more, every second one is left out, and so on.
const MAX_KEPT: usize = 20_000;

/// What is tokenised at a time.
const CHUNK_ITEMS: usize = 512;
const CHUNK_BYTES: usize = 8 << 20;

/// The longest sequence whose length is exact.
pub(crate) const MAX_EXACT: usize = 1 << 17;

/// Counts the tokens of records.
pub(crate) struct Tokens {
    pub encoder: Encoder,
    /// The same for examples that are shown, which are counted with the others
    pub shown: Encoder,
    train_on: TrainOn,
    waiting: Vec<(u64, Item)>,
    waiting_bytes: usize,
    n_seen: u64,
    /// One in `stride` records is tokenised
    stride: u64,
    kept: Vec<(u64, Sizes)>,
    /// Why records cannot be tokenised
    pub failures: Reasons,
}

/// Tokens of the examples of a record.
struct Sizes {
    /// Each with the tokens of its prompt and those that are learnt
    examples: Vec<(usize, usize)>,
    /// Of each sequence, with prompt and end; of a pair of the longer one
    wholes: Vec<usize>,
}

/// Tokens of all records that were looked at.
pub(crate) struct TokenLengths {
    pub prompt: Lengths,
    pub answer: Lengths,
    pub whole: Lengths,
    /// Records of which every sequence is too long, and those of which one is, but not all
    pub n_too_long: u64,
    pub n_partly_too_long: u64,
    /// Records that were tokenised and counted, and all of them
    pub n_counted: u64,
    pub n_all: u64,
}

impl Tokens {
    pub fn new(encoder: Encoder, train_on: TrainOn) -> Self {
        Self {
            shown: encoder.apart().within(MAX_EXACT),
            encoder: encoder.within(MAX_EXACT),
            train_on,
            waiting: Vec::new(),
            waiting_bytes: 0,
            n_seen: 0,
            stride: 1,
            kept: Vec::new(),
            failures: Reasons::default(),
        }
    }

    /// The examples of a record, as the stage makes them.
    pub fn examples(&self, item: &Item, encoder: &Encoder) -> Result<Vec<Example>> {
        let prompt = &item.prompt;
        if item.answers.is_empty() {
            let ids = encoder.prompt(prompt)?;
            let n = ids.len();
            return Ok(vec![Example::new(ids, n)]);
        }
        let mut examples = Vec::new();
        for (name, answer) in &item.answers {
            let row = data::Demonstration {
                prompt: prompt.clone(),
                response: answer.content.clone(),
                fields: answer.fields.clone(),
            };
            match (name.is_empty(), self.train_on) {
                (true, TrainOn::All) => examples.extend(encoder.conversation(&row)?),
                _ => examples.push(encoder.demonstration(&row)?),
            }
        }
        Ok(examples)
    }

    pub fn add(&mut self, item: &Item) {
        let number = self.n_seen;
        self.n_seen += 1;
        if !number.is_multiple_of(self.stride) {
            return;
        }
        self.waiting_bytes += item.n_bytes();
        self.waiting.push((number, item.clone()));
        if self.waiting.len() >= CHUNK_ITEMS || self.waiting_bytes >= CHUNK_BYTES {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.waiting_bytes = 0;
        let waiting = std::mem::take(&mut self.waiting);
        let encoded: Vec<Result<Sizes>> = waiting
            .par_iter()
            .map(|(_, item)| {
                let examples = self.examples(item, &self.encoder)?;
                Ok(Sizes::of(item, &examples))
            })
            .collect();
        for ((number, item), sizes) in waiting.iter().zip(encoded) {
            match sizes {
                Ok(sizes) => self.kept.push((*number, sizes)),
                Err(error) => {
                    let place = item.prompt.origin.to_string();
                    let text = error.to_string();
                    let bare = text.strip_prefix(&format!("{place}: ")).unwrap_or(&text);
                    self.failures.add(bare, 1, || place.clone());
                }
            }
        }
        while self.kept.len() > MAX_KEPT {
            self.stride *= 2;
            let stride = self.stride;
            self.kept
                .retain(|(number, _)| number.is_multiple_of(stride));
        }
    }

    /// `max_len`: records with longer sequences are counted.
    pub fn lengths(&mut self, max_len: usize) -> TokenLengths {
        self.flush();
        let mut lengths = TokenLengths {
            prompt: Lengths::default(),
            answer: Lengths::default(),
            whole: Lengths::default(),
            n_too_long: 0,
            n_partly_too_long: 0,
            n_counted: self.kept.len() as u64,
            n_all: self.n_seen,
        };
        for (_, sizes) in &self.kept {
            let n_long = sizes.wholes.iter().filter(|n| **n > max_len).count();
            match n_long {
                0 => {}
                n if n == sizes.wholes.len() => lengths.n_too_long += 1,
                _ => lengths.n_partly_too_long += 1,
            }
            sizes
                .wholes
                .iter()
                .for_each(|whole| lengths.whole.add(*whole));
            for (i, (prompt, learnt)) in sizes.examples.iter().enumerate() {
                if i == 0 {
                    lengths.prompt.add(*prompt);
                }
                if *learnt > 0 {
                    lengths.answer.add(*learnt);
                }
            }
        }
        lengths
    }

    /// Whether every record was tokenised.
    pub fn is_sample(&self) -> bool {
        self.stride > 1
    }
}

impl Sizes {
    fn of(item: &Item, examples: &[Example]) -> Self {
        let lengths = examples.iter().map(|e| e.ids.len());
        let wholes = match item.answers.len() {
            2 => lengths.max().into_iter().collect(),
            _ => lengths.collect(),
        };
        let sizes = examples.iter().map(|e| (e.prompt_len, n_learnt(e)));
        Self {
            examples: sizes.collect(),
            wholes,
        }
    }
}

/// Tokens that are learnt, the end token included.
pub(crate) fn n_learnt(example: &Example) -> usize {
    example.labels().map(|range| range.len()).sum()
}
