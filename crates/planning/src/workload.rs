//! What one optimiser step of a run works on, by its sizes.

use crate::batches::Forward;
use models::{Config, KvCache, LoraConfig};
use policy::DeviceChoice;

/// Everything that decides how much memory a step takes.
#[derive(Clone, Debug)]
pub struct Workload {
    pub shape: Config,
    pub device: DeviceChoice,
    /// Bytes of the base as it is stored in memory
    pub weight_bytes: usize,
    /// Trained numbers: adapters and heads, or the base
    pub parameters: usize,
    /// Numbers of all adapters and heads, trained or frozen
    pub adapter_numbers: usize,
    /// Models with a backward pass of their own (policy, critic), trained one after the other, and
    /// their adapters. None: the base's own weights are trained
    pub graphs: Vec<(&'static str, Option<LoraConfig>)>,
    /// The largest forward with a graph
    pub largest: Forward,
    /// Tokens of the longest training unit that no micro-batch splits
    pub longest: usize,
    pub scoring: ScoringMemory,
    pub sampling: SamplingMemory,
    /// The setting that limits how many answers are decoded together
    pub rows_key: &'static str,
}

/// Sizes of the forwards without a graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScoringMemory {
    /// Tokens of the largest that `train.micro_batch_tokens` limits: evaluation, reference
    pub micro_batched: usize,
    /// Tokens of the largest that it does not limit: rewards
    pub whole: usize,
    /// Tokens of the longest sequence in any
    pub longest: usize,
}

/// Sizes of sampling where it holds the most. The default samples nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SamplingMemory {
    /// Rows of keys and values, of prompts and answers
    pub cache_rows: usize,
    /// Answers decoded together
    pub rows: usize,
    /// Tokens of their prompts
    pub prompt_tokens: usize,
    pub longest_prompt: usize,
    /// Rows of keys and values of the longest answer
    pub answer_rows: usize,
    /// Sampled tokens whose hidden state is kept
    pub kept_states: usize,
}

impl Workload {
    /// Whether the base itself is not trained.
    pub(crate) fn frozen_base(&self) -> bool {
        self.graphs.iter().all(|(_, lora)| lora.is_some())
    }

    /// The same run in forwards of at most `tokens` tokens (`usize::MAX`: as they are), and at most
    /// `rows` rows decoded together.
    pub(crate) fn within(&self, tokens: usize, rows: usize) -> Self {
        let mut less = self.clone();
        if tokens < usize::MAX {
            let tokens = tokens.min(self.largest.tokens);
            let pairs = self.largest.pairs.min(tokens * self.longest);
            less.largest = Forward { tokens, pairs };
            let cut = &mut less.scoring.micro_batched;
            *cut = (*cut).min(tokens.max(self.scoring.longest));
        }
        let s = &mut less.sampling;
        let each = KvCache::rows_for(s.longest_prompt) + s.answer_rows;
        s.rows = s.rows.min(rows);
        s.cache_rows = s.cache_rows.min(each * s.rows);
        s.prompt_tokens = s.prompt_tokens.min(s.longest_prompt * s.rows);
        less
    }
}

impl SamplingMemory {
    /// `n_answers` answers of at most `max_new_tokens` tokens to prompts of these lengths, at most
    /// `max_rows` at a time. Which answers end first is unknown, so the longest prompts are assumed
    /// to be answered at the same time, each once.
    ///
    /// ```
    /// use planning::SamplingMemory;
    /// // the cache has rows in units of 16
    /// let few = SamplingMemory::of(&[10, 40, 20, 33], 12, 7, 3);
    /// assert_eq!(few.cache_rows, (48 + 48 + 32) + 3 * 16);
    /// assert_eq!((few.rows, few.prompt_tokens, few.longest_prompt), (3, 93, 40));
    /// ```
    pub fn of(prompts: &[usize], n_answers: usize, max_new_tokens: usize, max_rows: usize) -> Self {
        let rows = n_answers.min(max_rows);
        let mut prompts = prompts.to_vec();
        prompts.sort_unstable_by(|a, b| b.cmp(a));
        prompts.truncate(rows);
        let answer_rows = KvCache::rows_for(max_new_tokens);
        let prompt_rows: usize = prompts.iter().map(|len| KvCache::rows_for(*len)).sum();
        Self {
            cache_rows: prompt_rows + rows * answer_rows,
            rows,
            prompt_tokens: prompts.iter().sum(),
            longest_prompt: prompts.first().copied().unwrap_or(0),
            answer_rows,
            ..Self::default()
        }
    }

    /// The larger of each size, for sampling that happens one after the other.
    pub fn max(self, other: Self) -> Self {
        Self {
            cache_rows: self.cache_rows.max(other.cache_rows),
            rows: self.rows.max(other.rows),
            prompt_tokens: self.prompt_tokens.max(other.prompt_tokens),
            longest_prompt: self.longest_prompt.max(other.longest_prompt),
            answer_rows: self.answer_rows.max(other.answer_rows),
            kept_states: self.kept_states.max(other.kept_states),
        }
    }
}
