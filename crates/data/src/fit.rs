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

/// Rows within the context, and counts of those that were not.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted<T> {
    /// The rows that fit, in their order.
    pub items: Vec<T>,
    /// Number of rows before fitting.
    pub n_rows: usize,
    /// Rows dropped.
    pub n_dropped: usize,
    /// Rows truncated; they are among `items`, unless they are equal now.
    pub n_truncated: usize,
    /// Groups dropped because their answers are the same tokens, truncated or not.
    pub n_equal: usize,
    /// Rows dropped because the tokenizer makes no token of an answer.
    pub n_empty: usize,
}

impl<T> Fitted<T> {
    /// Says on stderr which rows were dropped or truncated, if any were; `what` names the rows.
    pub fn report(&self, what: &str, max_len: usize) {
        if self.n_dropped + self.n_truncated > 0 {
            run::say!(
                "{what} rows: {} of {} are longer than {max_len} tokens: {} dropped, {} truncated",
                self.n_dropped + self.n_truncated,
                self.n_rows,
                self.n_dropped,
                self.n_truncated
            );
        }
        for (n, why) in [
            (self.n_equal, "two answers of the same tokens"),
            (self.n_empty, "an answer without tokens"),
        ] {
            if n > 0 {
                run::say!(
                    "{what} rows: {n} of {} have {why} and are dropped",
                    self.n_rows
                );
            }
        }
    }
}

/// The examples of at most `max_len` tokens, prompt, response and EOS together.
///
/// Errors: a longer row under [`TooLong::Error`].
///
/// ```
/// use data::{Example, TooLong};
/// let row = |n| Example::new(vec![7; n], 2);
/// let fitted = data::fit_to_context(vec![row(5), row(9)], 6, TooLong::Drop)?;
/// assert_eq!((fitted.items.len(), fitted.n_dropped), (1, 1));
/// # Ok::<(), data::Error>(())
/// ```
pub fn fit_to_context(
    examples: Vec<Example>,
    max_len: usize,
    policy: TooLong,
) -> Result<Fitted<Example>> {
    let fitted =
        fit_groups_to_context(examples.into_iter().map(|e| [e]).collect(), max_len, policy)?;
    let Fitted {
        items,
        n_rows,
        n_dropped,
        n_truncated,
        n_equal,
        n_empty,
    } = fitted;
    let items = items.into_iter().map(|[e]| e).collect();
    Ok(Fitted {
        items,
        n_rows,
        n_dropped,
        n_truncated,
        n_equal,
        n_empty,
    })
}

/// The same for examples that belong together, such as the two answers of a preference: a group is
/// kept or dropped as a whole, and dropped, too, if its answers are the same tokens in the end or
/// one has none.
pub fn fit_groups_to_context<const N: usize>(
    groups: Vec<[Example; N]>,
    max_len: usize,
    policy: TooLong,
) -> Result<Fitted<[Example; N]>> {
    let n_rows = groups.len();
    let mut fitted = Fitted {
        items: Vec::with_capacity(n_rows),
        n_rows,
        n_dropped: 0,
        n_truncated: 0,
        n_equal: 0,
        n_empty: 0,
    };
    for (i, mut group) in groups.into_iter().enumerate() {
        // EOS alone: the text vanished in the tokenizer's normalisation.
        let n_learnt = |e: &Example| e.labels().map(|range| range.len()).sum::<usize>();
        if group.iter().any(|e| n_learnt(e) <= 1) {
            fitted.n_empty += 1;
            continue;
        }
        let longest = group.iter().map(|e| e.ids.len()).max().unwrap_or(0);
        if longest <= max_len {
            fitted.push(group);
            continue;
        }
        match policy {
            TooLong::Error => {
                return Err(Error(format!(
                    "row {} of the rows in use has {longest} tokens{}, more than max_len = {max_len}; \
                     raise max_len, or set too_long = \"drop\" or \"truncate_response\"",
                    i + 1,
                    if longest > 2 * max_len {
                        " or more"
                    } else {
                        ""
                    }
                )));
            }
            TooLong::TruncateResponse if group.iter().all(|e| e.prompt_len < max_len) => {
                group.iter_mut().for_each(|e| e.truncate(max_len));
                fitted.n_truncated += 1;
                fitted.push(group);
            }
            TooLong::Drop | TooLong::TruncateResponse => fitted.n_dropped += 1,
        }
    }
    Ok(fitted)
}

/// Answers without the token that ends them, since they were truncated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostEnds {
    /// Answers without it.
    pub n_lost: usize,
    /// All answers.
    pub n_answers: usize,
}

const REMEDY: &str = "raise data.max_len, or set data.too_long = \"drop\"";

impl LostEnds {
    /// Counts the examples whose last answer has no `eos`.
    pub fn of(examples: &[Example], eos: u32) -> Self {
        let lost = examples.iter().filter(|e| !e.has_end(eos));
        Self {
            n_lost: lost.count(),
            n_answers: examples.len(),
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

    /// Says the note on stderr.
    ///
    /// Errors: the rows are learnt, and none of them has it.
    pub fn report(&self, what: &str, are_learnt: bool) -> Result<()> {
        let n = self.n_answers;
        if are_learnt && n > 0 && self.n_lost == n {
            return Err(Error(format!(
                "{what} rows: truncation takes the end token from all {n} answers, so the model \
                 could not learn to stop; {REMEDY}"
            )));
        }
        if let Some(note) = self.note(what) {
            run::say!("{note}");
        }
        Ok(())
    }
}

impl<const N: usize> Fitted<[Example; N]> {
    /// Keeps the group unless there is nothing to tell its answers apart.
    fn push(&mut self, group: [Example; N]) {
        let [first, others @ ..] = &group[..] else {
            return;
        };
        // Texts that differ may be the same tokens after normalisation or truncation.
        match others.iter().any(|other| first.ids == other.ids) {
            true => self.n_equal += 1,
            false => self.items.push(group),
        }
    }
}
