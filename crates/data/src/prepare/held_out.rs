//! Which prompts are held out, and which of them are training prompts, too.

use super::{Preparing, Scanned};
use crate::{Record, held_out_keys, shared_note};
use std::collections::HashSet;

/// Which prompts are held out.
pub(super) struct Split {
    held: HashSet<u64>,
    /// The most held-out rows
    pub max_held: usize,
    /// The keys of the training prompts, ascending
    pub prompts: Vec<u64>,
    pub n_shared: usize,
    pub note: Option<String>,
}

impl Split {
    pub fn new<T, const N: usize, const HELD_OUT: u8>(
        preparing: &Preparing<T, N, HELD_OUT>,
        train: &Scanned<T>,
        eval: Option<&Scanned<T>>,
    ) -> Self {
        let config = preparing.config;
        let max_held = config.max_eval_rows.unwrap_or(usize::MAX);
        let keys = || train.keys.iter().copied();
        let held = match eval {
            Some(_) => HashSet::new(),
            None => held_out_keys(keys(), config.held_out, preparing.seed),
        };
        let mut prompts: Vec<u64> = keys().filter(|key| !held.contains(key)).collect();
        prompts.sort_unstable();
        prompts.dedup();
        let eval_keys = eval.map_or(&[][..], |eval| &eval.keys).iter().copied();
        let shown = config.selection().shown();
        let (n_shared, note) = shared_note(shown.as_ref(), &prompts, eval_keys.take(max_held));
        Self {
            held,
            max_held,
            prompts,
            n_shared,
            note,
        }
    }

    pub fn is_held<T: Record>(&self, record: &T) -> bool {
        self.held.contains(&record.prompt().key())
    }

    pub fn report(&self) {
        if let Some(note) = &self.note {
            run::say!("{note}");
        }
    }
}
