//! Sizes of sampling: the prompts and answers that are decoded together.

use crate::rows::largest_first;
use models::KvCache;

/// Sampling where it holds the most. The default samples nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sampling {
    /// Tokens of the prompts that may be answered together, the longest first
    pub prompts: Vec<usize>,
    /// Answers decoded together
    pub rows: usize,
    /// Tokens of the longest answer
    pub max_new_tokens: usize,
    /// Sampled tokens whose hidden state is kept
    pub kept_states: usize,
}

impl Sampling {
    /// `n_answers` answers of at most `max_new_tokens` tokens to prompts of these lengths, at most
    /// `max_rows` at a time. Which answers end first is unknown, so the longest prompts are assumed
    /// to be answered at the same time, each once.
    ///
    /// ```
    /// // the cache has rows in units of 16
    /// let few = planning::Sampling::of(vec![10, 40, 20, 33], 12, 7, 3);
    /// assert_eq!(few.cache_rows(), (48 + 48 + 32) + 3 * 16);
    /// assert_eq!((few.rows, few.prompt_tokens()), (3, 93));
    /// ```
    pub fn of(
        prompts: Vec<usize>,
        n_answers: usize,
        max_new_tokens: usize,
        max_rows: usize,
    ) -> Self {
        let rows = n_answers.min(max_rows);
        Self {
            prompts: largest_first(prompts, rows),
            rows,
            max_new_tokens,
            kept_states: 0,
        }
    }

    /// Rows of keys and values, of prompts and answers.
    pub fn cache_rows(&self) -> usize {
        let prompts = self.prompts.iter().take(self.rows);
        let prompts: usize = prompts.map(|tokens| KvCache::rows_for(*tokens)).sum();
        prompts + self.rows * KvCache::rows_for(self.max_new_tokens)
    }

    /// Tokens of the prompts that are answered together.
    pub fn prompt_tokens(&self) -> usize {
        self.prompts.iter().take(self.rows).sum()
    }
}
