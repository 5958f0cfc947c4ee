//! Token ids of answers. They are those of the whole text tokenised at once, as long as these begin
//! with the ids of the prompt alone, which generation starts from. Where a token would span the
//! boundary, the answer is tokenised separately, and counted.

use crate::findings::Place;
use crate::tokenise::{after_newline, encode};
use crate::{Ask, Encoder, Example, Prompt, Result};
use tokenizers::Tokenizer;

impl Encoder {
    /// Ids of an answer to a prompt, as [`Encoder::example`] has them.
    pub fn answer(&self, prompt: &Prompt, response: &str) -> Result<Vec<u32>> {
        let example = self.example(prompt, response)?;
        Ok(example.ids[example.prompt_len..].to_vec())
    }

    /// Prompt and answer of data as one sequence: the ids of the whole text up to the token that
    /// ends the answer. The answer has no white space at its end but what the chat template writes.
    /// Special tokens at its end are cut off; elsewhere they are text.
    ///
    /// Errors, with the prompt's file and row: as those of [`Encoder::prompt`].
    pub fn example(&self, prompt: &Prompt, response: &str) -> Result<Example> {
        let response = self.without_end(prompt, response);
        let place = match &prompt.ask {
            Ask::Raw(text) if text.is_empty() => Place::Text,
            _ => Place::Answer,
        };
        let names = self.marks_in(response);
        self.findings.mark(place, prompt, response, names);
        self.drawn_example(prompt, response)
    }

    /// The same for a text that a model has written: nothing is cut off, and its special tokens are
    /// not named.
    pub fn drawn_example(&self, prompt: &Prompt, text: &str) -> Result<Example> {
        self.look_for_marks(prompt);
        let made = self.example_ids(prompt, text.trim_end());
        let (ids, prompt_len) = made.map_err(|error| prompt.origin.locate(error))?;
        Ok(Example {
            key: prompt.key(),
            source: prompt.origin.source(),
            ..Example::new(ids, prompt_len)
        })
    }

    /// An answer of data without special tokens at its end, which are counted, and after a
    /// transcript without white space before it.
    pub fn without_end<'a>(&self, prompt: &Prompt, response: &'a str) -> &'a str {
        if self.for_old_runs {
            return response;
        }
        let (rest, names) = self.special_texts.split_end(response);
        self.findings.mark(Place::End, prompt, response, names);
        match prompt.origin.is_transcript() && !self.keeps_blanks {
            true => rest.trim_start(),
            false => rest,
        }
    }

    pub(crate) fn example_ids(&self, prompt: &Prompt, response: &str) -> Result<(Vec<u32>, usize)> {
        let text = self.prompt_text(prompt)?;
        let tokenizer = self.tokenizer_of(&prompt.ask);
        let body = encode(tokenizer, &text, self.max_tokens)?;
        let answer = match self.for_old_runs {
            true => encode(&self.literal, response, self.max_tokens)?,
            false => {
                let written = self.written(prompt, &text, response)?;
                let made = self.answer_ids(tokenizer, &text, &body, (&written, response))?;
                if made.1 {
                    let findings = &self.findings;
                    findings.count_joined(&text, &written, &prompt.origin);
                }
                made.0
            }
        };
        let mut ids = self.with_bos(&prompt.ask, &text, body)?;
        let prompt_len = ids.len();
        ids.extend(answer);
        ids.push(self.ends.eos);
        Ok((ids, prompt_len))
    }

    /// What stands between `text`, the prompt, and the token that ends the answer.
    fn written(&self, prompt: &Prompt, text: &str, response: &str) -> Result<String> {
        let rendered = match self.has_end {
            true => self.template.render_answered(&prompt.ask, response),
            false => None,
        };
        let Some(whole) = rendered.transpose()? else {
            return Ok(response.to_string());
        };
        let as_generated = format!("{}{response}{}", self.around.before, self.around.after);
        let Some(rest) = whole.strip_prefix(text) else {
            self.findings.count_rewritten();
            return Ok(as_generated);
        };
        let written = rest.rfind(&self.end_text).map_or(rest, |at| &rest[..at]);
        // Templates take reasoning out of answers, which is meant for those of earlier turns.
        if !ends_with_answer(text, written, response) {
            self.findings.count_changed(response, &prompt.origin);
            return Ok(as_generated);
        }
        Ok(written.to_string())
    }

    /// What follows `body`, the ids of `text`, in the ids of both texts. `response` is the part of
    /// `answer` that is not the template's. And whether a token would span the boundary.
    fn answer_ids(
        &self,
        tokenizer: &Tokenizer,
        text: &str,
        body: &[u32],
        (answer, response): (&str, &str),
    ) -> Result<(Vec<u32>, bool)> {
        let mut answer = answer;
        let mut ids_before = Vec::new();
        let mut is_joined = false;
        if body.len() <= self.max_tokens {
            let whole = encode(tokenizer, &format!("{text}{answer}"), self.max_tokens)?;
            match whole.strip_prefix(body) {
                // A special token that stands in the data is text; one that the template writes
                // before the answer is a token.
                Some(ids) if ids.iter().any(|id| self.specials.contains(id)) => {
                    let before = &answer[..answer.rfind(response).unwrap_or(0)];
                    let whole = encode(tokenizer, &format!("{text}{before}"), self.max_tokens)?;
                    if let Some(ids) = whole.strip_prefix(body) {
                        ids_before = ids.to_vec();
                        answer = &answer[before.len()..];
                    }
                }
                Some(ids) => return Ok((ids.to_vec(), false)),
                None => is_joined = true,
            }
        }
        let after = match self.adds_blank {
            true => after_newline(&self.literal, answer, self.max_tokens)?,
            false => None,
        };
        ids_before.extend(match after {
            Some(ids) => ids,
            None => encode(&self.literal, answer, self.max_tokens)?,
        });
        Ok((ids_before, is_joined))
    }
}

/// Whether the whole answer stands in `written`. It may begin at the end of the prompt, which some
/// templates fill with `<think>`, and templates change the white space around its parts.
fn ends_with_answer(prompt: &str, written: &str, answer: &str) -> bool {
    if written.contains(answer) {
        return true;
    }
    let solid = |text: &str| text.split_whitespace().collect::<String>();
    let (before, answer) = (solid(prompt), solid(answer));
    let whole = before.clone() + &solid(written);
    let found = whole.rfind(&answer);
    found.is_some_and(|at| at + answer.len() > before.len() || answer.is_empty())
}
