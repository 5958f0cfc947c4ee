//! The tokens of an example as text for people: what is learnt, and what is context.

use crate::tokenise::tokenizer_error;
use crate::{Encoder, Example, Result};
use serde::Serialize;

/// A part of an example that is learnt, or is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Piece {
    pub text: String,
    pub is_learnt: bool,
}

impl Encoder {
    /// The texts of an example, special tokens included, in order.
    ///
    /// Errors: the tokenizer cannot decode the ids.
    pub fn pieces(&self, example: &Example) -> Result<Vec<Piece>> {
        let (mut pieces, mut at) = (Vec::new(), 0);
        for learnt in example.labels() {
            for (range, is_learnt) in [(at..learnt.start, false), (learnt.clone(), true)] {
                if !range.is_empty() {
                    let text = self.text_between(&example.ids, range.start, range.end)?;
                    pieces.push(Piece { text, is_learnt });
                }
            }
            at = learnt.end;
        }
        Ok(pieces)
    }

    /// The text of `ids[start..end]` as it is after those before it: decoders drop the blank at the
    /// start of a text.
    fn text_between(&self, ids: &[u32], start: usize, end: usize) -> Result<String> {
        let text = |ids: &[u32]| {
            let decoded = self.rendered.decode(ids, false);
            decoded.map_err(tokenizer_error)
        };
        let (before, both) = (text(&ids[..start])?, text(&ids[..end])?);
        match both.strip_prefix(&before) {
            Some(rest) => Ok(rest.to_string()),
            None => text(&ids[start..end]),
        }
    }
}
