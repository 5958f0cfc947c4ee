//! A row of data as token ids, and which of them are learnt.

use serde::Serialize;
use std::ops::Range;

/// Prompt and answer as one sequence, or a conversation in which several answers are learnt.
///
/// ```
/// // <question> 5 6 <answer> 7 2, <question> 5 <answer> 8 2
/// let whole = data::Example::new(vec![5, 6, 7, 2, 5, 8, 2], 2);
/// let both = data::Example { context: [4..5].into(), ..whole };
/// assert_eq!(both.labels().collect::<Vec<_>>(), [2..4, 5..7]);
/// assert_eq!((both.n_labels(), both.has_end(2)), (4, true));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Example {
    /// Token ids; `ids[prompt_len..]` is the answer with its EOS.
    pub ids: Vec<u32>,
    /// Tokens of the prompt.
    pub prompt_len: usize,
    /// Tokens after the prompt that are not learnt: the turns between the answers of a
    /// conversation. Ascending.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub context: Box<[Range<usize>]>,
    /// The prompt's [`Prompt::key`](crate::Prompt::key).
    pub key: u64,
    /// Which of `data.sources` it is from; 0 if there is one.
    #[serde(skip)]
    pub source: u16,
}

impl Example {
    /// A prompt of `prompt_len` tokens, and an answer.
    pub fn new(ids: Vec<u32>, prompt_len: usize) -> Self {
        Self {
            ids,
            prompt_len,
            context: Box::default(),
            key: 0,
            source: 0,
        }
    }

    /// The ranges of ids that are learnt. The first id of a sequence can be in them, though nothing
    /// predicts it.
    pub fn labels(&self) -> impl Iterator<Item = Range<usize>> {
        let starts = self.context.iter().map(|range| range.end);
        let ends = self.context.iter().map(|range| range.start);
        let starts = std::iter::once(self.prompt_len).chain(starts);
        let ends = ends.chain([self.ids.len()]);
        starts.zip(ends).map(|(start, end)| start..end)
    }

    /// Ids that are learnt and predicted: all but the first of a sequence.
    pub fn n_labels(&self) -> usize {
        let ranges = self.labels();
        ranges
            .map(|range| range.end.saturating_sub(range.start.max(1)))
            .sum()
    }

    /// Whether the last answer has the token that ends it. White space of the
    /// template may follow, if its tags mark it.
    pub fn has_end(&self, eos: u32) -> bool {
        const TAIL: usize = 3;
        let last = self.labels().last().unwrap_or_default();
        self.ids[last].iter().rev().take(TAIL).any(|id| *id == eos)
    }

    /// Keeps at most `max_len` tokens. Of a conversation, the answers that fit as a whole.
    pub fn truncate(&mut self, max_len: usize) {
        if self.ids.len() <= max_len {
            return;
        }
        let fits = self.context.partition_point(|turn| turn.start <= max_len);
        let len = match fits.checked_sub(1) {
            Some(last) => self.context[last].start,
            None => max_len,
        };
        self.ids.truncate(len);
        let kept = fits.saturating_sub(1);
        self.context = self.context[..kept].into();
        self.prompt_len = self.prompt_len.min(len);
    }
}
