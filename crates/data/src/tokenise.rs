//! Token ids of prompts, and what encoding needs to know of tokenizer and template. There is no
//! padding.

use crate::findings::{Findings, Place, beginning};
use crate::marks::mark;
use crate::rendered::check_turns;
use crate::special_texts::SpecialTexts;
use crate::template::Around;
use crate::tools;
use crate::{Ask, Error, Message, Prompt, Result, Template};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use tokenizers::Tokenizer;

/// The model's special tokens that encoding needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ends {
    /// The token that begins a sequence.
    pub bos: Option<u32>,
    /// Whether a sequence begins with BOS when the template has not written it.
    pub add_bos: bool,
    /// The token that ends an answer in training, and where a reward model reads it.
    pub eos: u32,
    /// Tokens at which generation may stop; `eos` is one of them.
    pub stop: Vec<u32>,
}

/// Renders and tokenises. Every stage uses this one object for template, tokenizer and special
/// tokens.
#[derive(Clone)]
pub struct Encoder {
    /// Recognises special tokens in text, as in the output of a chat template.
    pub(crate) rendered: Tokenizer,
    /// Takes text literally: a `</s>` in the data is four characters, not the EOS token.
    pub(crate) literal: Tokenizer,
    pub(crate) template: Template,
    pub(crate) ends: Ends,
    bos_text: Option<String>,
    /// The text of the token that ends an answer.
    pub(crate) end_text: String,
    /// Whether the chat template writes a token that ends an answer.
    pub(crate) has_end: bool,
    /// What the template writes around an answer, up to its end token.
    pub(crate) around: Around,
    /// Encodes as for runs that began before answers were learnt whole: the answer by itself.
    pub(crate) for_old_runs: bool,
    /// An answer after a transcript keeps the white space before it, as in runs that began before
    /// [`run::Rules::AllAnswers`].
    pub(crate) keeps_blanks: bool,
    pub(crate) specials: HashSet<u32>,
    /// EOS, and the stop tokens that are not ordinary text. They need not be special.
    pub(crate) end_marks: HashSet<u32>,
    pub(crate) special_texts: Arc<SpecialTexts>,
    /// Whether a text by itself gets a blank in front, as in most SentencePiece models.
    pub(crate) adds_blank: bool,
    pub(crate) findings: Arc<Findings>,
    notes: Vec<String>,
    /// The most tokens of a sequence that the caller can use.
    pub(crate) max_tokens: usize,
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
        let around = template.around_answer()?;
        let after = around.as_ref().map(|around| around.after.as_str());
        let end = after.and_then(|after| end_in(&tokenizer, &ends, after));
        ends.eos = end.unwrap_or(ends.eos);
        if !ends.stop.contains(&ends.eos) {
            ends.stop.insert(0, ends.eos);
        }
        let bos_text = ends.bos.and_then(|id| tokenizer.id_to_token(id));
        let end_text = tokenizer.id_to_token(ends.eos).unwrap_or_default();
        let mut notes = match (&template, end) {
            (Template::Chat { .. }, None) => vec![no_end(after, &end_text)],
            _ => Vec::new(),
        };
        let around = around
            .unwrap_or_default()
            .until(end.map(|_| end_text.as_str()));
        notes.extend(around.note());
        let added = tokenizer.get_added_tokens_decoder();
        let special = added.iter().filter(|(_, token)| token.special);
        let specials: HashSet<u32> = special.map(|(id, _)| *id).collect();
        let mark = |id: &u32| *id == ends.eos || added.contains_key(id);
        let end_marks: HashSet<u32> = ends.stop.iter().copied().filter(mark).collect();
        let bos = ends.bos.filter(|id| added.contains_key(id));
        let named = specials.union(&end_marks).copied().chain(bos);
        let texts = named.filter_map(|id| tokenizer.id_to_token(id));
        let mut literal = tokenizer.clone();
        literal.set_encode_special_tokens(true);
        let alone = encode(&literal, "a", usize::MAX)?;
        let adds_blank = after_newline(&literal, "a", usize::MAX)?.is_some_and(|ids| ids != alone);
        let special_texts = Arc::new(SpecialTexts::new(texts.collect()));
        Ok(Self {
            specials,
            end_marks,
            rendered: tokenizer,
            literal,
            template,
            ends,
            bos_text,
            end_text,
            has_end: end.is_some(),
            around,
            for_old_runs: false,
            keeps_blanks: false,
            special_texts,
            adds_blank,
            findings: Arc::default(),
            notes,
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

    /// The same encoder for a run that began under rules before [`run::Rules::WholeAnswers`].
    #[must_use]
    pub fn for_old_runs(mut self) -> Self {
        self.for_old_runs = true;
        let note = std::mem::take(&mut self.around).note();
        self.notes.retain(|known| Some(known) != note.as_ref());
        self
    }

    /// The hash of everything that ids depend on, beside the rows.
    pub(crate) fn identity(&self) -> Result<String> {
        let tokenizer = self.rendered.to_string(false).map_err(tokenizer_error)?;
        // of a date, what the template prints of it
        let template = self.template.clone().without_date();
        let turns =
            |roles: &[&str]| Ask::Chat(roles.iter().map(|r| Message::new(r, "x")).collect());
        let probes = [turns(&["user"]), turns(&["system", "user"])];
        let dated = probes.map(|ask| self.template.render(&ask).ok());
        let parts = serde_json::json!([
            tokenizer,
            template,
            dated,
            self.ends,
            self.for_old_runs,
            self.keeps_blanks,
            self.max_tokens
        ]);
        Ok(run::hash(parts.to_string().as_bytes()))
    }

    /// The same encoder, which counts by itself what it finds in rows.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self {
            findings: Arc::default(),
            ..self.clone()
        }
    }

    /// The same encoder for a run that began under rules before [`run::Rules::AllAnswers`].
    #[must_use]
    pub fn keeping_blanks(mut self) -> Self {
        self.keeps_blanks = true;
        self
    }

    /// The same encoder whose template prints another date.
    #[must_use]
    pub fn with_template(mut self, template: Template) -> Self {
        self.template = template;
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
        self.look_for_marks(prompt);
        tools::check(&self.template, &prompt.ask, None)?;
        let text = self.prompt_text(prompt)?;
        let body = encode(self.tokenizer_of(&prompt.ask), &text, self.max_tokens)?;
        self.with_bos(&prompt.ask, &text, body)
    }

    /// The text that an answer follows. A header that the template writes only before an answer is
    /// its end. Its tools are checked before.
    pub(crate) fn prompt_text(&self, prompt: &Prompt) -> Result<String> {
        let mut text = self.template.render(&prompt.ask)?;
        check_turns(&prompt.ask, &text)?;
        if !matches!(prompt.ask, Ask::Raw(_)) {
            text.push_str(&self.around.header);
        }
        Ok(text)
    }

    /// Counts a prompt that seems to be ready-made, where a template is put around it.
    pub(crate) fn look_for_marks(&self, prompt: &Prompt) {
        if matches!(self.template, Template::Raw) {
            return;
        }
        let texts: Vec<Cow<str>> = match &prompt.ask {
            Ask::Instruction { instruction, input } => vec![instruction.into(), input.into()],
            Ask::Chat(messages) => messages.iter().map(Message::text).collect(),
            Ask::Raw(_) => return,
        };
        let names = texts.iter().map(|text| self.marks_in(text));
        let names = names.flatten().collect();
        self.findings.mark(Place::Prompt, prompt, "", names);
    }

    /// The special tokens in a text, and the first mark of a ready-made prompt.
    pub(crate) fn marks_in(&self, text: &str) -> BTreeSet<String> {
        let mut names = self.special_texts.within(text);
        names.extend(mark(text));
        names
    }

    /// Whether special tokens in the text of a prompt are tokens.
    fn has_specials(&self, ask: &Ask) -> bool {
        match (&self.template, ask) {
            (_, Ask::Raw(_)) | (Template::Chat { .. }, _) => true,
            (Template::Raw, _) => !self.for_old_runs,
            (Template::Alpaca, _) => false,
        }
    }

    pub(crate) fn tokenizer_of(&self, ask: &Ask) -> &Tokenizer {
        match self.has_specials(ask) {
            true => &self.rendered,
            false => &self.literal,
        }
    }

    /// The ids of a prompt, with BOS first where the model wants it and `text` does not have it.
    pub(crate) fn with_bos(&self, ask: &Ask, text: &str, body: Vec<u32>) -> Result<Vec<u32>> {
        let has_bos = self.has_specials(ask)
            && self
                .bos_text
                .as_ref()
                .is_some_and(|bos| text.starts_with(bos.as_str()));
        let bos = self.ends.bos.filter(|_| self.ends.add_bos && !has_bos);
        let ids: Vec<u32> = bos.into_iter().chain(body).collect();
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

    /// What a user should know about the template, once: how answers end where it writes no token
    /// for that, and what it writes before them.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What was found in the rows since the last call, a line for each kind: answers that were not
    /// tokenised with their prompts, marks of ready-made prompts, special tokens. `what` names the
    /// rows.
    pub fn row_notes(&self, what: &str) -> Vec<String> {
        self.findings.take(what, &self.template)
    }

    /// Says on stderr what [`Encoder::row_notes`] returns.
    pub fn report_rows(&self, what: &str) {
        for note in self.row_notes(what) {
            run::say!("{note}");
        }
    }

    /// What ends every prompt where the template writes a header only before an answer; else empty.
    pub fn prompt_header(&self) -> &str {
        &self.around.header
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
pub(crate) fn encode(tokenizer: &Tokenizer, text: &str, max_tokens: usize) -> Result<Vec<u32>> {
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

/// The ids of a text as they are after a line break, where no blank is put in front. None: the
/// line break and the text share a token.
pub(crate) fn after_newline(
    tokenizer: &Tokenizer,
    text: &str,
    max_tokens: usize,
) -> Result<Option<Vec<u32>>> {
    let newline = encode(tokenizer, "\n", max_tokens)?;
    let both = encode(tokenizer, &format!("\n{text}"), max_tokens)?;
    Ok(both.strip_prefix(&newline[..]).map(<[u32]>::to_vec))
}

/// The token that ends an answer in the text that a template writes after it: the first special
/// one or stop token, or any token of its own that the text begins with. The longest of several.
fn end_in(tokenizer: &Tokenizer, ends: &Ends, after: &str) -> Option<u32> {
    let start = after.len() - after.trim_start().len();
    let tokens = tokenizer.get_added_tokens_decoder();
    let found = tokens.iter().filter_map(|(id, token)| {
        let at = after.find(&token.content)?;
        let ends = token.special || ends.stop.contains(id) || at == start;
        ends.then_some((at, std::cmp::Reverse(token.content.len()), *id))
    });
    found.min().map(|(_, _, id)| id)
}

/// `after`: what the template writes after an answer.
fn no_end(after: Option<&str>, end: &str) -> String {
    match after.map(beginning).as_deref() {
        None => format!("the chat template renders no answer; answers end with {end}"),
        Some("") => {
            format!("the chat template writes no token after an answer; answers end with {end}")
        }
        Some(text) => format!(
            "the chat template ends an answer with {text:?}, which is not a single token; answers end \
             with {end}"
        ),
    }
}

pub(crate) fn tokenizer_error(error: tokenizers::Error) -> Error {
    Error(format!("tokenizer: {error}"))
}
