//! The sizes of rows, and of a forward that takes several of them side by side.

/// The tokens of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowSize {
    /// What tells its prompt from others, and the prompt's tokens (0: shared with no other row)
    pub prompt: (u64, usize),
    pub response: usize,
}

impl RowSize {
    /// A row that shares its prompt with no other.
    pub fn alone(tokens: usize) -> Self {
        Self {
            prompt: (0, 0),
            response: tokens,
        }
    }

    pub fn tokens(&self) -> usize {
        self.prompt.1 + self.response
    }
}

/// The size of one forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forward {
    pub tokens: usize,
    /// Pairs of a token and one that its sequence reads, masked or not
    pub pairs: usize,
}

impl Forward {
    /// Rows side by side, of which neighbours share their prompt, as in [`models::Packed`].
    ///
    /// ```
    /// let row = |prompt, response| planning::RowSize { prompt, response };
    /// let pair = planning::Forward::packed(&[row((1, 10), 4), row((1, 10), 6)]);
    /// assert_eq!((pair.tokens, pair.pairs), (20, 10 * 10 + 4 * 14 + 6 * 16));
    /// ```
    pub fn packed(rows: &[RowSize]) -> Self {
        let mut all = Self::default();
        let mut add = |tokens: usize, reads: usize| {
            all.tokens += tokens;
            all.pairs += tokens * reads;
        };
        let share = |a: &RowSize, b: &RowSize| a.prompt.1 > 0 && a.prompt == b.prompt;
        for group in rows.chunk_by(share) {
            let shared = if group.len() > 1 {
                group[0].prompt.1
            } else {
                0
            };
            add(shared, shared);
            for row in group {
                add(row.tokens() - shared, row.tokens());
            }
        }
        all
    }

    /// The larger of each size.
    pub fn max(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.max(other.tokens),
            pairs: self.pairs.max(other.pairs),
        }
    }
}

/// The `n` largest sizes in descending order.
pub(crate) fn largest_first(mut sizes: Vec<usize>, n: usize) -> Vec<usize> {
    sizes.sort_unstable_by_key(|size| std::cmp::Reverse(*size));
    sizes.truncate(n);
    sizes
}
