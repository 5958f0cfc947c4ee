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
    /// Rows truncated; they are among `items`.
    pub n_truncated: usize,
}

impl<T> Fitted<T> {
    /// Writes one line to stderr if a row was dropped or truncated; `what` names the rows.
    pub fn report(&self, what: &str, max_len: usize) {
        if self.n_dropped + self.n_truncated > 0 {
            eprintln!(
                "{what} rows: {} of {} are longer than {max_len} tokens: {} dropped, {} truncated",
                self.n_dropped + self.n_truncated,
                self.n_rows,
                self.n_dropped,
                self.n_truncated
            );
        }
    }
}

/// The examples of at most `max_len` tokens, prompt, response and EOS together.
///
/// Errors: a longer row under [`TooLong::Error`].
///
/// ```
/// use data::{Example, TooLong};
/// let row = |n| Example { ids: vec![7; n], prompt_len: 2, key: 0 };
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
    } = fitted;
    let items = items.into_iter().map(|[e]| e).collect();
    Ok(Fitted {
        items,
        n_rows,
        n_dropped,
        n_truncated,
    })
}

/// The same for examples that belong together, such as the two answers of a preference: a group is
/// kept or dropped as a whole.
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
    };
    for (i, mut group) in groups.into_iter().enumerate() {
        let longest = group.iter().map(|e| e.ids.len()).max().unwrap_or(0);
        if longest <= max_len {
            fitted.items.push(group);
            continue;
        }
        match policy {
            TooLong::Error => {
                return Err(Error(format!(
                    "row {} of the rows in use has {longest} tokens, more than max_len = {max_len}; \
                     raise max_len, or set too_long = \"drop\" or \"truncate_response\"",
                    i + 1
                )));
            }
            TooLong::TruncateResponse if group.iter().all(|e| e.prompt_len < max_len) => {
                group.iter_mut().for_each(|e| e.ids.truncate(max_len));
                fitted.items.push(group);
                fitted.n_truncated += 1;
            }
            TooLong::Drop | TooLong::TruncateResponse => fitted.n_dropped += 1,
        }
    }
    Ok(fitted)
}
