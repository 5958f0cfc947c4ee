//! Rows that are longer than the context: dropped and counted, cut where the user asked for it, or refused. Never cut
//! silently.

use crate::{Error, Example, Result};
use serde::{Deserialize, Serialize};

/// What happens to a row that does not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TooLong {
    /// Leave it out, and count it.
    #[default]
    Drop,
    /// Cut the answer's end, and its EOS with it: a cut is not an end. A row whose prompt leaves no room is dropped.
    TruncateResponse,
    /// Stop.
    Error,
}

/// What fits, and what did not.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted<T> {
    pub items: Vec<T>,
    pub n_rows: usize,
    pub n_dropped: usize,
    pub n_truncated: usize,
}

impl<T> Fitted<T> {
    /// One line to stderr where something did not fit.
    pub fn report(&self, what: &str, max_len: usize) {
        if self.n_dropped + self.n_truncated > 0 {
            eprintln!(
                "{what} rows: {} of {} are longer than {max_len} tokens: {} left out, {} cut",
                self.n_dropped + self.n_truncated,
                self.n_rows,
                self.n_dropped,
                self.n_truncated
            );
        }
    }
}

/// Examples of at most `max_len` tokens, prompt, response and EOS together.
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

/// The same for examples that go together (the two answers of a preference): a group is kept whole or dropped whole.
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
                    "row {} of those in use has {longest} tokens, more than the {max_len} allowed; \
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
