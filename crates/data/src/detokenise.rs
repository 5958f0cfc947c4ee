//! Text of token ids.

use crate::tokenise::tokenizer_error;
use crate::{Encoder, Result};

impl Encoder {
    /// Text of ids without special tokens and the tokens that end answers. A stop token that is
    /// ordinary text, such as a full stop, is kept: it is part of the answer.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        let text = |id: &&u32| !self.end_marks.contains(id);
        let ids: Vec<u32> = ids.iter().filter(text).copied().collect();
        self.rendered.decode(&ids, true).map_err(tokenizer_error)
    }

    /// One token as text for people; special tokens by name.
    pub fn token(&self, id: u32) -> String {
        let name = || self.rendered.id_to_token(id);
        let text = self.rendered.decode(&[id], true).unwrap_or_default();
        match name() {
            Some(name) if text.is_empty() => name,
            // a token includes the blank before a word, and decoding it alone drops the blank
            Some(name) if name.starts_with(['▁', 'Ġ']) && !text.starts_with(' ') => {
                format!(" {text}")
            }
            _ => text,
        }
    }

    /// Byte offsets at which the tokens begin in `text`, their decoded text, in ascending order.
    /// Tokens that are parts of one character all begin where the character does.
    pub fn offsets(&self, ids: &[u32], text: &str) -> Result<Vec<usize>> {
        let mut least = 0;
        let begins = |t: usize| {
            // An incomplete character decodes as U+FFFD, which the text does not contain there.
            let before = self.decode(&ids[..t])?;
            let pairs = before.chars().zip(text.chars());
            let common = pairs.take_while(|(a, b)| a == b);
            least = least.max(common.map(|(c, _)| c.len_utf8()).sum());
            Ok(least)
        };
        (0..ids.len()).map(begins).collect()
    }
}
