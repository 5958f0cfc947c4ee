//! Rows longer than the context: dropped, truncated or refused, as `too_long` says. Dropped and
//! truncated rows are counted.

use crate::{Error, Example, Result};
use serde::{Deserialize, Serialize};

/// What happens to a row that is longer than the context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TooLong {
    /// Drop the row and count it.
    #[default]
    Drop,
    /// Truncate the answer. Its EOS goes too, since a truncated answer does not end there. A row
    /// whose prompt leaves no room is dropped.
    TruncateResponse,
    /// Stop with an error.
    Error,
}

/// The most tokens of rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Limits {
    /// Of a prompt and its answer.
    pub max_len: usize,
    /// Of a prompt, where that has a limit of its own.
    pub max_prompt_len: Option<usize>,
    /// What happens to longer rows.
    pub too_long: TooLong,
    /// Whether rows have answers; else they are prompts alone.
    pub has_answers: bool,
}

impl Limits {
    /// Of rows whose prompts have no limit of their own.
    pub fn of_rows(max_len: usize, too_long: TooLong) -> Self {
        Self {
            max_len,
            max_prompt_len: None,
            too_long,
            has_answers: true,
        }
    }
}

/// What became of rows.
///
/// ```
/// use data::{Example, FitCounts, Limits, TooLong};
/// let mut counts = FitCounts::default();
/// let limits = Limits::of_rows(6, TooLong::Drop);
/// let mut fit = |n| counts.fit([Example::new(vec![7; n], 2)], limits);
/// assert!(fit(5)?.is_some() && fit(9)?.is_none());
/// assert_eq!((counts.n_rows, counts.n_dropped), (2, 1));
/// # Ok::<(), data::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FitCounts {
    /// Number of rows before fitting.
    pub n_rows: usize,
    /// Rows dropped.
    pub n_dropped: usize,
    /// Rows truncated; they are kept, unless they are equal now.
    pub n_truncated: usize,
    /// Groups dropped because their answers are the same tokens, truncated or not.
    pub n_equal: usize,
    /// Rows dropped because the tokenizer makes no token of an answer.
    pub n_empty: usize,
}

impl FitCounts {
    /// A row of one example, or of several that belong together, such as the answers of a
    /// preference, truncated to `limits` if need be. None: it is dropped, since it is too long, its
    /// answers are the same tokens, or one has none.
    ///
    /// Errors: it is longer under [`TooLong::Error`].
    pub fn fit<const N: usize>(
        &mut self,
        mut group: [Example; N],
        limits: Limits,
    ) -> Result<Option<[Example; N]>> {
        self.n_rows += 1;
        let max_len = limits.max_len;
        // EOS alone: the text vanished in the tokenizer's normalisation.
        let n_learnt = |e: &Example| e.labels().map(|range| range.len()).sum::<usize>();
        if limits.has_answers && group.iter().any(|e| n_learnt(e) <= 1) {
            self.n_empty += 1;
            return Ok(None);
        }
        let longest = group.iter().map(|e| e.ids.len()).max().unwrap_or(0);
        let max_prompt_len = limits.max_prompt_len.unwrap_or(usize::MAX);
        if longest > max_len || group.iter().any(|e| e.prompt_len > max_prompt_len) {
            match limits.too_long {
                TooLong::Error => {
                    return Err(Error(format!(
                        "has {longest} tokens{}, more than data.max_len = {max_len}; raise it, or \
                         set data.too_long = \"drop\" or \"truncate_response\"",
                        if longest > 2 * max_len {
                            " or more"
                        } else {
                            ""
                        }
                    )));
                }
                TooLong::TruncateResponse if group.iter().all(|e| e.prompt_len < max_len) => {
                    group.iter_mut().for_each(|e| e.truncate(max_len));
                    self.n_truncated += 1;
                }
                TooLong::Drop | TooLong::TruncateResponse => {
                    self.n_dropped += 1;
                    return Ok(None);
                }
            }
        }
        // Texts that differ may be the same tokens after normalisation or truncation.
        if let [first, others @ ..] = &group[..]
            && others.iter().any(|other| first.ids == other.ids)
        {
            self.n_equal += 1;
            return Ok(None);
        }
        Ok(Some(group))
    }

    /// A line for each kind of row that was dropped or truncated; `what` names the rows.
    pub fn notes(&self, what: &str, limits: Limits) -> Vec<String> {
        let mut notes = Vec::new();
        let (n_rows, max_len) = (self.n_rows, limits.max_len);
        let n_long = self.n_dropped + self.n_truncated;
        let rows = match limits.has_answers {
            true => "rows",
            false => "prompts",
        };
        let prompts = match limits.max_prompt_len.filter(|_| limits.has_answers) {
            Some(max) => format!(", or a prompt of more than {max}"),
            None => String::new(),
        };
        if n_long > 0 {
            notes.push(format!(
                "{what} {rows}: {n_long} of {n_rows} have more than {max_len} tokens{prompts}: {} \
                 dropped, {} truncated",
                self.n_dropped, self.n_truncated
            ));
        }
        for (n, why) in [
            (self.n_equal, "two answers of the same tokens"),
            (self.n_empty, "an answer without tokens"),
        ] {
            if n > 0 {
                notes.push(format!(
                    "{what} rows: {n} of {n_rows} have {why} and are dropped"
                ));
            }
        }
        notes
    }
}

/// Answers without the token that ends them, since they were truncated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LostEnds {
    /// Answers without it.
    pub n_lost: usize,
    /// All answers.
    pub n_answers: usize,
}

const REMEDY: &str = "raise data.max_len, or set data.too_long = \"drop\"";

impl LostEnds {
    /// Counts an example, by whether its last answer ends with `eos`.
    pub fn add(&mut self, example: &Example, eos: u32) {
        self.n_lost += usize::from(!example.has_end(eos));
        self.n_answers += 1;
    }

    /// Fails if fewer than 99 % have it: a model does not learn to stop without. For rows that are
    /// not truncated yet.
    pub fn check_labels(&self, eos: u32) -> Result<()> {
        let (n, n_rows) = (self.n_answers - self.n_lost, self.n_answers);
        match n * 100 < n_rows * 99 {
            true => Err(Error(format!(
                "only {n} of {n_rows} examples end with the EOS token {eos}; a model trained on them \
                 would not learn to stop; check the model's EOS token and chat template"
            ))),
            false => Ok(()),
        }
    }

    /// How many there are, if more than 1 %; `what` names the rows.
    pub fn note(&self, what: &str) -> Option<String> {
        let Self { n_lost, n_answers } = *self;
        let share = 100.0 * n_lost as f64 / n_answers.max(1) as f64;
        (share > 1.0).then(|| {
            format!(
                "{what} rows: truncation takes the end token from {n_lost} of {n_answers} answers \
                 ({share:.0} %), and the model learns not to stop there; {REMEDY}"
            )
        })
    }

    /// Fails if no answer has it.
    pub fn require(&self, what: &str) -> Result<()> {
        let n = self.n_answers;
        match n > 0 && self.n_lost == n {
            true => Err(Error(format!(
                "{what} rows: truncation takes the end token from all {n} answers, so the model \
                 could not learn to stop; {REMEDY}"
            ))),
            false => Ok(()),
        }
    }
}
