//! Which prompts are held out, and which of them are training prompts, too.

use crate::{Record, held_out_keys, shared_note};
use std::collections::HashSet;
use std::path::Path;

/// Which prompts are held out.
pub(super) struct Split {
    held: HashSet<u64>,
    /// The most held-out rows
    pub max_held: usize,
    /// The keys of the training prompts, ascending
    pub prompts: Vec<u64>,
    /// Held-out prompts that are training prompts, too, and the message about them
    pub n_shared: usize,
    pub note: Option<String>,
}

impl Split {
    /// A share of the prompts is held out. `keys`: of all rows.
    pub fn of_share(keys: &[u64], share: f64, seed: u64, max_held: usize) -> Self {
        let held = held_out_keys(keys.iter().copied(), share, seed);
        let train = keys.iter().copied().filter(|key| !held.contains(key));
        Self {
            prompts: each_once(train.collect()),
            held,
            max_held,
            n_shared: 0,
            note: None,
        }
    }

    /// Held-out rows have a place of their own. `shown`: the place of the training rows.
    pub fn of_eval(train: &[u64], eval: &[u64], max_held: usize, shown: &Path) -> Self {
        let prompts = each_once(train.to_vec());
        let eval = eval.iter().copied().take(max_held);
        let (n_shared, note) = shared_note(shown, &prompts, eval);
        Self {
            held: HashSet::new(),
            max_held,
            prompts,
            n_shared,
            note,
        }
    }

    /// Whether a row of the training files is held out.
    pub fn is_held<T: Record>(&self, record: &T) -> bool {
        self.held.contains(&record.prompt().key())
    }
}

fn each_once(mut keys: Vec<u64>) -> Vec<u64> {
    keys.sort_unstable();
    keys.dedup();
    keys
}
