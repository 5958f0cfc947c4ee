//! Token ids of answers. They are those of the whole text tokenised at once, as long as these begin
//! with the ids of the prompt alone, which generation starts from. Where a token would span the
//! boundary, the answer is tokenised separately, and counted.

use crate::findings::{Place, beginning};
use crate::tokenise::{after_newline, encode};
use crate::{Ask, Demonstration, Encoder, Error, Example, Message, Prompt, Result, tools};
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
        self.check_tools(prompt, None)?;
        self.checked_example(prompt, response)
    }

    fn checked_example(&self, prompt: &Prompt, response: &str) -> Result<Example> {
        let response = self.without_end(prompt, response);
        let place = match &prompt.ask {
            Ask::Raw(text) if text.is_empty() => Place::Text,
            _ => Place::Answer,
        };
        let names = self.marks_in(response);
        self.findings.mark(place, prompt, response, names);
        self.checked_drawn(prompt, response)
    }

    /// A row as [`Encoder::example`] makes it. An answer that calls tools is what the template
    /// writes of it.
    ///
    /// Errors, with file and row: as those of [`Encoder::prompt`], and where the template does not
    /// write the whole answer.
    pub fn demonstration(&self, row: &Demonstration) -> Result<Example> {
        let (prompt, answer) = (&row.prompt, row.answer());
        let checked = self.check_calls(&answer);
        checked.map_err(|error| prompt.origin.locate(error))?;
        self.check_tools(prompt, Some(&answer))?;
        self.checked_turn(prompt, &answer)
    }

    /// The example of an answer; tools and calls of prompt and answer are checked before.
    pub(crate) fn checked_turn(&self, prompt: &Prompt, answer: &Message) -> Result<Example> {
        if answer.fields.is_empty() {
            return self.checked_example(prompt, &answer.content);
        }
        self.look_for_marks(prompt);
        self.answered(prompt, answer)
    }

    /// Fails, with file and row, if the template would leave out tools or calls.
    pub(crate) fn check_tools(&self, prompt: &Prompt, answer: Option<&Message>) -> Result<()> {
        let checked = tools::check(&self.template, &prompt.ask, answer);
        checked.map_err(|error| prompt.origin.locate(error))
    }

    /// Fails if an answer calls tools and has the text of a special token, which would be a token.
    pub(crate) fn check_calls(&self, answer: &Message) -> Result<()> {
        let names = match answer.fields.is_empty() {
            true => return Ok(()),
            false => self.special_texts.within(&answer.text()),
        };
        match names.first() {
            Some(name) => Err(Error(format!(
                "an answer that calls tools has the text {name:?}, which would be a special token; \
                 remove it from the data"
            ))),
            None => Ok(()),
        }
    }

    /// The same for a text that a model has written: nothing is cut off, and its special tokens are
    /// not named.
    pub fn drawn_example(&self, prompt: &Prompt, text: &str) -> Result<Example> {
        self.check_tools(prompt, None)?;
        self.checked_drawn(prompt, text)
    }

    fn checked_drawn(&self, prompt: &Prompt, text: &str) -> Result<Example> {
        self.look_for_marks(prompt);
        self.answered(prompt, &Message::new("assistant", text.trim_end()))
    }

    fn answered(&self, prompt: &Prompt, answer: &Message) -> Result<Example> {
        let made = self.example_ids(prompt, answer);
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

    pub(crate) fn example_ids(
        &self,
        prompt: &Prompt,
        answer: &Message,
    ) -> Result<(Vec<u32>, usize)> {
        let text = self.prompt_text(prompt)?;
        let tokenizer = self.tokenizer_of(&prompt.ask);
        let body = encode(tokenizer, &text, self.max_tokens)?;
        let answer = match self.for_old_runs {
            true => encode(&self.literal, &answer.content, self.max_tokens)?,
            false => {
                let (written, response) = match answer.fields.is_empty() {
                    true => (self.written(prompt, &text, answer)?, Some(&*answer.content)),
                    false => (self.written_calls(prompt, &text, answer)?, None),
                };
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
    fn written(&self, prompt: &Prompt, text: &str, answer: &Message) -> Result<String> {
        let response = answer.content.as_str();
        let rendered = match self.has_end {
            true => self.template.render_answered(&prompt.ask, answer),
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

    /// The same of an answer that calls tools.
    fn written_calls(&self, prompt: &Prompt, text: &str, answer: &Message) -> Result<String> {
        let rendered = self.template.render_answered(&prompt.ask, answer);
        let whole = rendered.transpose()?.unwrap_or_default();
        let fail = |what: String| Err(Error(format!("{what}; remove such rows")));
        let Some(rest) = whole.strip_prefix(text) else {
            return fail("the chat template changes the prompt once a tool call follows".into());
        };
        let Some(end) = rest.rfind(&self.end_text).filter(|_| self.has_end) else {
            let end = &self.end_text;
            return fail(format!(
                "the chat template writes no {end:?} after a tool call"
            ));
        };
        let written = &rest[..end];
        if !ends_with_answer(text, written, &answer.content) {
            let lost = beginning(&answer.content);
            return fail(format!(
                "the chat template leaves out the text {lost:?} of an answer that calls tools"
            ));
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
        (answer, response): (&str, Option<&str>),
    ) -> Result<(Vec<u32>, bool)> {
        let mut answer = answer;
        let mut ids_before = Vec::new();
        let mut is_joined = false;
        if body.len() <= self.max_tokens {
            let whole = encode(tokenizer, &format!("{text}{answer}"), self.max_tokens)?;
            match whole.strip_prefix(body) {
                // A special token that stands in the data is text; one that the template writes
                // before the answer is a token.
                Some(ids)
                    if let Some(response) = response
                        && ids.iter().any(|id| self.specials.contains(id)) =>
                {
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
        let tokenizer = match response {
            Some(_) => &self.literal,
            None => &self.rendered,
        };
        let after = match self.adds_blank {
            true => after_newline(tokenizer, answer, self.max_tokens)?,
            false => None,
        };
        ids_before.extend(match after {
            Some(ids) => ids,
            None => encode(tokenizer, answer, self.max_tokens)?,
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
