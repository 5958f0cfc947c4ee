//! Token ids of prompts and answers. The two are tokenised separately and joined, so the position
//! of the answer is known and never searched for in the text, and `### Response:` and the answer's
//! first word are separate tokens, as in generation. There is no padding.

use crate::rendered::check_turns;
use crate::{Ask, Error, Prompt, Result, Template};
use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;

/// Prompt and answer as one sequence.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Example {
    /// Token ids; `ids[prompt_len..]` is the answer with its EOS.
    pub ids: Vec<u32>,
    /// Tokens of the prompt.
    pub prompt_len: usize,
    /// The prompt's [`Prompt::key`].
    pub key: u64,
}

/// The model's special tokens that encoding needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ends {
    /// The token that begins a sequence.
    pub bos: Option<u32>,
    /// Whether a sequence begins with BOS when the template has not written it.
    pub add_bos: bool,
    /// The token that ends an answer.
    pub eos: u32,
    /// Tokens at which generation stops; `eos` is one of them.
    pub stop: Vec<u32>,
}

/// Renders and tokenises. Every stage uses this one object for template, tokenizer and special
/// tokens.
#[derive(Clone)]
pub struct Encoder {
    /// Recognises special tokens in text, as in the output of a chat template.
    rendered: Tokenizer,
    /// Takes text literally: a `</s>` in the data is four characters, not the EOS token.
    literal: Tokenizer,
    template: Template,
    ends: Ends,
    bos_text: Option<String>,
    /// The most tokens of a sequence that the caller can use.
    max_tokens: usize,
}

impl Encoder {
    /// Switches off the truncation and padding that tokenizer.json asks for. Under a chat template
    /// an answer ends with the special token that the template puts after it (`<|im_end|>`).
    ///
    /// Errors: the tokenizer lacks the model's BOS or EOS.
    pub fn new(mut tokenizer: Tokenizer, template: Template, mut ends: Ends) -> Result<Self> {
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(tokenizer_error)?;
        for (name, id) in [("EOS", Some(ends.eos)), ("BOS", ends.bos)] {
            if let Some(id) = id.filter(|id| tokenizer.id_to_token(*id).is_none()) {
                return Err(Error(format!(
                    "the tokenizer has no token {id}, the model's {name}: it does not belong to this model"
                )));
            }
        }
        if let Some(id) = special_at_start(&tokenizer, &template.after_answer()) {
            ends.eos = id;
        }
        if !ends.stop.contains(&ends.eos) {
            ends.stop.insert(0, ends.eos);
        }
        let bos_text = ends.bos.and_then(|id| tokenizer.id_to_token(id));
        let mut literal = tokenizer.clone();
        literal.set_encode_special_tokens(true);
        Ok(Self {
            rendered: tokenizer,
            literal,
            template,
            ends,
            bos_text,
            max_tokens: usize::MAX,
        })
    }

    /// The same encoder for a caller to whom sequences of more than `max_tokens` are all too long.
    /// Of a text that makes far more it tokenises a piece, so memory is bounded; the ids of that
    /// are still more than twice `max_tokens`.
    #[must_use]
    pub fn within(mut self, max_tokens: usize) -> Self {
        self.max_tokens = max_tokens;
        self
    }

    /// Ids of the rendered prompt, with BOS first if the model wants it and the template has not
    /// written it.
    ///
    /// Errors, with the prompt's file and row: the template fails or leaves out a turn; the prompt
    /// begins with two BOS tokens.
    pub fn prompt(&self, prompt: &Prompt) -> Result<Vec<u32>> {
        self.prompt_ids(prompt)
            .map_err(|error| prompt.origin.locate(error))
    }

    fn prompt_ids(&self, prompt: &Prompt) -> Result<Vec<u32>> {
        let text = self.template.render(&prompt.ask)?;
        check_turns(&prompt.ask, &text)?;
        let has_specials =
            matches!(self.template, Template::Chat { .. }) || matches!(prompt.ask, Ask::Raw(_));
        let tokenizer = if has_specials {
            &self.rendered
        } else {
            &self.literal
        };
        let ids = encode(tokenizer, &text, self.max_tokens)?;
        let has_bos = has_specials
            && self
                .bos_text
                .as_ref()
                .is_some_and(|bos| text.starts_with(bos.as_str()));
        let bos = self.ends.bos.filter(|_| self.ends.add_bos && !has_bos);
        let ids: Vec<u32> = bos.into_iter().chain(ids).collect();
        match ids[..] {
            [first, second, ..] if Some(first) == self.ends.bos && second == first => {
                Err(Error(format!(
                    "a prompt begins with two BOS tokens ({}); remove one from the data or from the chat template",
                    self.bos_text.as_deref().unwrap_or_default()
                )))
            }
            _ => Ok(ids),
        }
    }

    /// Ids of the answer without trailing white space, then EOS.
    pub fn response(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = encode(&self.literal, text.trim_end(), self.max_tokens)?;
        ids.push(self.ends.eos);
        Ok(ids)
    }

    /// Prompt and answer as one sequence.
    pub fn example(&self, prompt: &Prompt, response: &str) -> Result<Example> {
        let mut ids = self.prompt(prompt)?;
        let prompt_len = ids.len();
        let response = self.response(response);
        ids.extend(response.map_err(|error| prompt.origin.locate(error))?);
        Ok(Example {
            ids,
            prompt_len,
            key: prompt.key(),
        })
    }

    /// Text of response ids without special tokens.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.rendered.decode(ids, true).map_err(tokenizer_error)
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

    /// The special tokens in use.
    pub fn ends(&self) -> &Ends {
        &self.ends
    }

    /// The template in use.
    pub fn template(&self) -> &Template {
        &self.template
    }
}

/// The ids of a text, or those of its beginning if that alone makes more than twice `max_tokens`: a
/// cut changes the tokens beside it, not how many there are.
fn encode(tokenizer: &Tokenizer, text: &str, max_tokens: usize) -> Result<Vec<u32>> {
    let enough = max_tokens.saturating_mul(2).saturating_add(16);
    // English has four bytes a token.
    let mut n_bytes = enough.saturating_mul(8);
    loop {
        let piece = &text[..text.floor_char_boundary(n_bytes)];
        let encoding = tokenizer
            .encode_fast(piece, false)
            .map_err(tokenizer_error)?;
        let ids = encoding.get_ids();
        if piece.len() == text.len() || ids.len() > enough {
            return Ok(ids.to_vec());
        }
        n_bytes = n_bytes.saturating_mul(4);
    }
}

/// The special token at the start of the text; the longest of several.
fn special_at_start(tokenizer: &Tokenizer, text: &str) -> Option<u32> {
    let text = text.trim_start();
    let specials = tokenizer.get_added_tokens_decoder();
    let fits = specials
        .iter()
        .filter(|(_, t)| t.special && text.starts_with(&t.content));
    fits.max_by_key(|(_, t)| t.content.len()).map(|(id, _)| *id)
}

fn tokenizer_error(error: tokenizers::Error) -> Error {
    Error(format!("tokenizer: {error}"))
}

/// Checks that at least 99 % of the examples end with EOS, without which a model does not learn to
/// stop. Call it before [`crate::fit_to_context`], which may truncate answers.
pub fn check_labels(examples: &[Example], eos: u32) -> Result<()> {
    let ends = |e: &&Example| e.ids.len() > e.prompt_len && e.ids.last() == Some(&eos);
    let n = examples.iter().filter(ends).count();
    if n * 100 < examples.len() * 99 {
        return Err(Error(format!(
            "only {n} of {} examples end with the EOS token {eos}; a model trained on them would not learn to stop; check the model's EOS token and chat template",
            examples.len()
        )));
    }
    Ok(())
}
