//! Examples of conversations in which every answer is learnt (`data.train_on = "all"`).
//!
//! A chat template with `{% generation %}` blocks says itself which text is learnt; the tokens are
//! those of transformers' `assistant_masks`. With any other template an answer is learnt in the
//! context that generation would give it: the conversation is one sequence as long as the ids of
//! each question with its answer are the beginning of the whole. An answer of which that is not so,
//! since the template changes earlier turns or writes no end token, is an example of its own. White
//! space and special tokens at the ends of answers are cut off, as where one answer is learnt.

use crate::tokenise::tokenizer_error;
use crate::{Ask, Demonstration, Encoder, Error, Example, Message, Prompt, Result};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use tokenizers::Encoding;

/// The answers of a conversation that are learnt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainOn {
    /// Every assistant turn
    All,
    /// The last assistant turn; those before it are context
    #[default]
    Last,
}

impl Encoder {
    /// The examples of a row. Of a conversation all answers are learnt; otherwise there is one,
    /// that of [`Encoder::example`].
    ///
    /// Errors, with file and row: as those of [`Encoder::example`].
    pub fn conversation(&self, row: &Demonstration) -> Result<Vec<Example>> {
        let prompt = &row.prompt;
        let mut answer = row.answer();
        if prompt.origin.is_transcript() && !self.keeps_blanks {
            answer.content = answer.content.trim_start().to_string();
        }
        for answer in answers(prompt).map(|(_, answer)| answer).chain([&answer]) {
            let checked = self.check_calls(answer);
            checked.map_err(|error| prompt.origin.locate(error))?;
        }
        self.check_tools(prompt, Some(&answer))?;
        if let Some(tagged) = self.tagged(prompt, &answer)? {
            return Ok(vec![tagged]);
        }
        let prompt = &self.with_ends_cut(prompt);
        let mut whole = self.checked_turn(prompt, &answer)?;
        whole.key = row.prompt.key();
        let (mut learnt, mut alone) = (Vec::new(), Vec::new());
        let mut n_unwritten = 0;
        for (asked, answer) in earlier_answers(prompt) {
            let (part, begins) = match self.part(&asked, answer, &whole.ids) {
                Ok(made) => made,
                // a template may take no conversation that begins with an answer
                Err(_) if answer.fields.is_empty() => {
                    n_unwritten += 1;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if part.prompt_len > self.max_tokens {
                break; // the whole is too long in any case
            }
            match begins && whole.prompt_len >= part.ids.len() {
                true => learnt.push(part.prompt_len..part.ids.len()),
                false => alone.push(Example {
                    key: whole.key,
                    ..part
                }),
            }
        }
        if n_unwritten > 0 {
            self.findings.count_unwritten(n_unwritten, &prompt.origin);
        }
        if !alone.is_empty() {
            self.findings.count_apart(alone.len(), &prompt.origin);
        }
        learnt.push(whole.prompt_len..whole.ids.len());
        put_labels(&mut whole, &learnt);
        alone.push(whole);
        Ok(alone)
    }

    /// The prompt whose earlier answers end as they do where they are learnt: without white space
    /// and special tokens.
    fn with_ends_cut(&self, prompt: &Prompt) -> Prompt {
        let mut cut = prompt.clone();
        if let Ask::Chat(messages) = &mut cut.ask {
            let ends = |m: &&mut Message| m.role == "assistant" && m.fields.is_empty();
            for message in messages.iter_mut().filter(ends) {
                let text = self.without_end(prompt, &message.content);
                message.content.truncate(text.trim_end().len());
            }
        }
        cut
    }

    /// A question and answer inside a conversation, and whether `whole` begins with it. Special
    /// tokens in the question are not counted here: the whole conversation is checked once. So are
    /// tools and calls, unless this is another text.
    fn part(&self, prompt: &Prompt, answer: &Message, whole: &[u32]) -> Result<(Example, bool)> {
        let made = self.example_ids(prompt, answer);
        let (ids, prompt_len) = made.map_err(|error| prompt.origin.locate(error))?;
        let begins = self.has_end && whole.starts_with(&ids);
        if !begins && prompt_len <= self.max_tokens {
            self.check_tools(prompt, Some(answer))?;
        }
        let part = Example {
            source: prompt.origin.source(),
            ..Example::new(ids, prompt_len)
        };
        Ok((part, begins))
    }

    /// The whole text, with the tokens that the template's `{% generation %}` blocks mark. None: it
    /// has no such blocks, or an answer holds the text of a special token, which would be a token,
    /// or it is not known which blocks are those of the answers that are context.
    fn tagged(&self, prompt: &Prompt, answer: &Message) -> Result<Option<Example>> {
        let Some(rendered) = self.template.render_tagged(&prompt.ask, answer) else {
            return Ok(None);
        };
        let earlier = answers(prompt).map(|(_, answer)| answer);
        if earlier
            .chain([answer])
            .any(|answer| !self.special_texts.within(&answer.text()).is_empty())
        {
            return Ok(None);
        }
        let (text, spans) = rendered.map_err(|error| prompt.origin.locate(error))?;
        let Some(spans) = learnt_spans(prompt, spans) else {
            return Ok(None);
        };
        let made = self.tagged_ids(prompt, &text, &spans);
        let mut example = made.map_err(|error| prompt.origin.locate(error))?;
        example.key = prompt.key();
        example.source = prompt.origin.source();
        self.look_for_marks(prompt);
        Ok(Some(example))
    }

    fn tagged_ids(&self, prompt: &Prompt, text: &str, spans: &[Range<usize>]) -> Result<Example> {
        let (encoding, is_whole) = self.encoding_of(text)?;
        let body = encoding.get_ids().to_vec();
        let ids = self.with_bos(&prompt.ask, text, body)?;
        let n_bos = ids.len() - encoding.get_ids().len();
        let mut learnt: Vec<Range<usize>> = Vec::new();
        for span in spans.iter().filter(|span| !span.is_empty()) {
            // as transformers finds them: the tokens that hold the first and the last character
            let last = text.floor_char_boundary(span.end - 1);
            let Some(first) = encoding.char_to_token(span.start, 0) else {
                break;
            };
            let end = encoding.char_to_token(last, 0).map(|token| token + 1);
            let end = end.unwrap_or(encoding.get_ids().len());
            learnt.push(first + n_bos..end + n_bos);
        }
        let Some(last) = learnt.last() else {
            return Err(Error(
                "the chat template's {% generation %} blocks mark no token of this conversation; set \
                 data.train_on = \"last\""
                    .into(),
            ));
        };
        let mut example = Example::new(ids, 0);
        // one that was cut is too long, and must stay so
        if is_whole {
            example.ids.truncate(last.end);
        }
        put_labels(&mut example, &learnt);
        Ok(example)
    }

    /// The tokens of a text with their places in it, and whether they are those of the whole. Of a
    /// text that makes far more than `max_tokens` a piece is tokenised.
    fn encoding_of(&self, text: &str) -> Result<(Encoding, bool)> {
        let enough = self.max_tokens.saturating_mul(2).saturating_add(16);
        let mut n_bytes = enough.saturating_mul(8);
        loop {
            let piece = &text[..text.floor_char_boundary(n_bytes)];
            let encoding = self.rendered.encode(piece, false);
            let encoding = encoding.map_err(tokenizer_error)?;
            let is_whole = piece.len() == text.len();
            if is_whole || encoding.get_ids().len() > enough {
                return Ok((encoding, is_whole));
            }
            n_bytes = n_bytes.saturating_mul(4);
        }
    }
}

/// Sets what is learnt of an example: ascending ranges, the last of which ends it.
fn put_labels(example: &mut Example, learnt: &[Range<usize>]) {
    example.prompt_len = learnt
        .first()
        .map_or(example.ids.len(), |first| first.start);
    let between = learnt.windows(2).map(|pair| pair[0].end..pair[1].start);
    example.context = between.filter(|range| !range.is_empty()).collect();
}

/// The spans of the answers that are learnt. None: it is not known which these are, since the
/// template has not one block for each answer.
fn learnt_spans(prompt: &Prompt, spans: Vec<Range<usize>>) -> Option<Vec<Range<usize>>> {
    let Ask::Chat(messages) = &prompt.ask else {
        return Some(spans);
    };
    let earlier = messages.iter().filter(|m| m.role == "assistant");
    let mut learnt: Vec<bool> = earlier.map(|m| !m.is_context).collect();
    learnt.push(true);
    if learnt.iter().all(|learnt| *learnt) {
        return Some(spans);
    }
    let pairs = (spans.len() == learnt.len()).then(|| spans.into_iter().zip(learnt));
    pairs.map(|pairs| {
        pairs
            .filter(|(_, learnt)| *learnt)
            .map(|(span, _)| span)
            .collect()
    })
}

/// The answers of a conversation before the last that are learnt, each with the turns before it.
fn earlier_answers(prompt: &Prompt) -> impl Iterator<Item = (Prompt, &Message)> {
    let asked = |turns: &[Message]| Prompt {
        ask: Ask::Chat(turns.to_vec()),
        reference: None,
        origin: prompt.origin.clone(),
    };
    answers(prompt).map(move |(before, answer)| (asked(before), answer))
}

/// The same with the turns as they are.
fn answers(prompt: &Prompt) -> impl Iterator<Item = (&[Message], &Message)> {
    let messages = match &prompt.ask {
        Ask::Chat(messages) => &messages[..],
        Ask::Instruction { .. } | Ask::Raw(_) => &[],
    };
    let places = prompt.ask.learnt_answers();
    places.map(|i| (&messages[..i], &messages[i]))
}
