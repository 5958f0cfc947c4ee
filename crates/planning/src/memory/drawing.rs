//! What sampling holds at its fullest.

use models::KvCache;

/// Answers that are drawn side by side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drawing {
    /// Rows of keys and values, of prompts and answers
    pub cache_rows: usize,
    /// Answers decoded together
    pub rows: usize,
    /// Tokens of their prompts
    pub prompt_tokens: usize,
    pub longest_prompt: usize,
    /// Rows of keys and values of the longest answer
    pub own_rows: usize,
    /// The setting that says how many are decoded together
    pub rows_key: &'static str,
    /// Tokens drawn of which the hidden state is kept
    pub kept_states: usize,
}

impl Drawing {
    /// `answers` answers of at most `room` tokens to prompts of these lengths, at most `max_rows` at a time. How many a prompt gets, and which
    /// end first, nobody knows, so that the longest prompts are taken to stand side by side with an answer each.
    pub fn of(prompts: &[usize], answers: usize, room: usize, max_rows: usize) -> Self {
        let rows = answers.min(max_rows);
        let mut prompts = prompts.to_vec();
        prompts.sort_unstable_by(|a, b| b.cmp(a));
        prompts.truncate(rows);
        let own_rows = KvCache::rows_for(room);
        let of_prompts: usize = prompts.iter().map(|len| KvCache::rows_for(*len)).sum();
        Self {
            cache_rows: of_prompts + rows * own_rows,
            rows,
            prompt_tokens: prompts.iter().sum(),
            longest_prompt: prompts.first().copied().unwrap_or(0),
            own_rows,
            ..Self::default()
        }
    }

    /// One after the other: the most of both.
    pub fn or(self, other: Self) -> Self {
        Self {
            cache_rows: self.cache_rows.max(other.cache_rows),
            rows: self.rows.max(other.rows),
            prompt_tokens: self.prompt_tokens.max(other.prompt_tokens),
            longest_prompt: self.longest_prompt.max(other.longest_prompt),
            own_rows: self.own_rows.max(other.own_rows),
            rows_key: self.rows_key,
            kept_states: self.kept_states.max(other.kept_states),
        }
    }

    /// At most `rows` answers at a time.
    pub(super) fn at_most(self, rows: usize) -> Self {
        let cached = KvCache::rows_for(self.longest_prompt) + self.own_rows;
        Self {
            rows: self.rows.min(rows),
            cache_rows: self.cache_rows.min(cached * rows),
            prompt_tokens: self.prompt_tokens.min(self.longest_prompt * rows),
            ..self
        }
    }
}
