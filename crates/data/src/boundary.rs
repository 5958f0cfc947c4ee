//! Counts the answers that cannot be tokenised together with their prompts, for two reasons. A
//! token would hold the end of the prompt and the start of the answer: the two are then tokenised
//! separately, since a sampler has the prompt's tokens before it draws the answer's. Or the chat
//! template changes the prompt once an answer follows: the row keeps the prompt of a sampler.

use std::sync::{Mutex, PoisonError};

/// Counted since the last look. Clones of an encoder share it.
#[derive(Default)]
pub(crate) struct Boundaries(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    n_joined: usize,
    /// The first of them.
    example: String,
    n_rewritten: usize,
}

impl Boundaries {
    pub fn count_joined(&self, prompt: &str, answer: &str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.n_joined == 0 {
            let n_chars = prompt.chars().count();
            let end: String = prompt.chars().skip(n_chars.saturating_sub(12)).collect();
            let begin: String = answer.chars().take(12).collect();
            counts.example = format!("{end:?} before {begin:?}");
        }
        counts.n_joined += 1;
    }

    pub fn count_rewritten(&self) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.n_rewritten += 1;
    }

    pub fn take(&self, what: &str) -> Vec<String> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Counts {
            n_joined,
            example,
            n_rewritten,
        } = std::mem::take(&mut *counts);
        let joined = format!(
            "{what} rows: a token would span the end of the prompt and the start of the answer in \
             {n_joined} of them ({example}); prompt and answer are tokenised separately there, as \
             in generation"
        );
        let rewritten = format!(
            "{what} rows: the chat template changes the prompt of {n_rewritten} of them once an answer \
             follows; they are trained as in generation, without the change"
        );
        let notes = [(n_joined, joined), (n_rewritten, rewritten)];
        let some = notes.into_iter().filter(|(n, _)| *n > 0);
        some.map(|(_, note)| note).collect()
    }
}
