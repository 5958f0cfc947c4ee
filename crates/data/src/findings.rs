//! Counts what encoding finds in rows and what it does about it, and reports a line for each kind.
//!
//! Some answers cannot be tokenised together with their prompts. A token would hold the end of the
//! prompt and the start of the answer: the two are then tokenised separately, since a sampler has
//! the prompt's tokens before it draws the answer's. Or the chat template changes the prompt once
//! an answer follows: the row keeps the prompt of a sampler.

use crate::marks::is_of_transcript;
use crate::{Origin, Prompt, Template};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

/// Counts since the last report. Clones of an encoder share them.
#[derive(Default)]
pub(crate) struct Findings(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    n_joined: usize,
    joined: First,
    n_rewritten: usize,
    /// Answers that are examples of their own, and where the first of them is.
    n_apart: usize,
    apart: First,
    /// Answers whose question the template cannot write, and where the first of them is.
    n_unwritten: usize,
    unwritten: First,
    /// Answers that the chat template does not write as they are, and the first of them.
    n_changed: usize,
    changed: First,
    prompts: Marked,
    answers: Marked,
    texts: Marked,
    ends: Marked,
}

/// The first row of a kind, whatever the order in which rows are encoded.
#[derive(Default)]
struct First(Option<(Origin, String)>);

impl First {
    /// `text`: what is shown of the row.
    fn see(&mut self, origin: &Origin, text: impl FnOnce() -> String) {
        if self
            .0
            .as_ref()
            .is_none_or(|(first, _)| origin.is_before(first))
        {
            self.0 = Some((origin.clone(), text()));
        }
    }

    fn text(&self) -> &str {
        self.0.as_ref().map_or("", |(_, text)| text)
    }
}

/// Texts in which something was found, each once.
#[derive(Default)]
struct Marked {
    /// Hashes of prompt and text.
    texts: HashSet<u64>,
    /// What was found, and in how many of them.
    names: BTreeMap<String, usize>,
    first: First,
}

/// Where marks of ready-made prompts and special tokens were found.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    /// In a prompt
    Prompt,
    /// In an answer
    Answer,
    /// In a text that has no prompt
    Text,
    /// At the end of an answer, where it was cut off
    End,
}

impl Marked {
    fn add(&mut self, prompt: &Prompt, text: &str, names: BTreeSet<String>) {
        let mut hash = DefaultHasher::new();
        (prompt.key(), text).hash(&mut hash);
        if !self.texts.insert(hash.finish()) {
            return;
        }
        for name in names {
            *self.names.entry(name).or_default() += 1;
        }
        let origin = &prompt.origin;
        self.first.see(origin, || origin.to_string());
    }

    /// `3 answers ("</s>" 3; first: x.json: row 1)`; None if there is none.
    fn list(&self, noun: &str) -> Option<String> {
        const SHOWN: usize = 5;
        if self.texts.is_empty() {
            return None;
        }
        let first = self.first.text();
        let names = self.names.iter().take(SHOWN);
        let mut names: Vec<String> = names.map(|(name, n)| format!("{name:?} {n}")).collect();
        if self.names.len() > SHOWN {
            names.push(format!("{} more", self.names.len() - SHOWN));
        }
        let (n, names) = (counted(self.texts.len(), noun), names.join(", "));
        Some(format!("{n} ({names}; first: {first})"))
    }
}

/// `1 prompt`, `2 prompts`
fn counted(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// The first characters of a text.
pub(crate) fn beginning(text: &str) -> String {
    text.trim().chars().take(40).collect()
}

impl Counts {
    /// The messages about answers inside conversations.
    fn of_conversations(&self, rows: &str) -> Vec<String> {
        let mut notes = Vec::new();
        if self.n_apart > 0 {
            notes.push(format!(
                "{rows} {} inside conversations are examples of their own, each after the turns \
                 before it (first: {}): the template has no end token there, or changes earlier \
                 turns",
                counted(self.n_apart, "answer"),
                self.apart.text()
            ));
        }
        if self.n_unwritten > 0 {
            notes.push(format!(
                "{rows} {} inside conversations are context only: the template cannot write the \
                 turns before them alone (first: {})",
                counted(self.n_unwritten, "answer"),
                self.unwritten.text()
            ));
        }
        notes
    }
}

impl Findings {
    fn counts(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn count_joined(&self, prompt: &str, answer: &str, origin: &Origin) {
        let mut counts = self.counts();
        counts.joined.see(origin, || {
            let n_chars = prompt.chars().count();
            let end: String = prompt.chars().skip(n_chars.saturating_sub(12)).collect();
            let begin: String = answer.chars().take(12).collect();
            format!("{end:?} before {begin:?}")
        });
        counts.n_joined += 1;
    }

    /// Answers of a conversation that are examples of their own.
    pub fn count_apart(&self, n: usize, origin: &Origin) {
        let mut counts = self.counts();
        counts.apart.see(origin, || origin.to_string());
        counts.n_apart += n;
    }

    /// Answers of a conversation that are context, since the template cannot write their question.
    pub fn count_unwritten(&self, n: usize, origin: &Origin) {
        let mut counts = self.counts();
        counts.unwritten.see(origin, || origin.to_string());
        counts.n_unwritten += n;
    }

    pub fn count_rewritten(&self) {
        self.counts().n_rewritten += 1;
    }

    /// An answer that the chat template does not write as it is.
    pub fn count_changed(&self, answer: &str, origin: &Origin) {
        let mut counts = self.counts();
        let shown = || format!("{origin}, {:?}", beginning(answer));
        counts.changed.see(origin, shown);
        counts.n_changed += 1;
    }

    /// Names found in a text of data: in a prompt, or in `text`, what follows it.
    pub fn mark(&self, place: Place, prompt: &Prompt, text: &str, names: BTreeSet<String>) {
        if names.is_empty() {
            return;
        }
        let mut counts = self.counts();
        let marked = match place {
            Place::Prompt => &mut counts.prompts,
            Place::Answer => &mut counts.answers,
            Place::Text => &mut counts.texts,
            Place::End => &mut counts.ends,
        };
        marked.add(prompt, text, names);
    }

    /// A line for each thing that was found; `what` names the rows.
    pub fn take(&self, what: &str, template: &Template) -> Vec<String> {
        let counts = std::mem::take(&mut *self.counts());
        let rows = format!("{what} rows:");
        let mut notes = Vec::new();
        if counts.n_joined > 0 {
            notes.push(format!(
                "{rows} a token would span the end of the prompt and the start of the answer in \
                 {} of them ({}); prompt and answer are tokenised separately there, as in \
                 generation",
                counts.n_joined,
                counts.joined.text()
            ));
        }
        notes.extend(counts.of_conversations(&rows));
        if counts.n_rewritten > 0 {
            notes.push(format!(
                "{rows} the chat template changes the prompt of {} of them once an answer follows; \
                 they are trained as in generation, without the change",
                counts.n_rewritten
            ));
        }
        if counts.n_changed > 0 {
            notes.push(format!(
                "{rows} the chat template leaves out or changes a part of {} (first: {}); the \
                 whole answer is learnt, as the model will write it; remove that part from the \
                 data if it is not to be learnt",
                counted(counts.n_changed, "answer"),
                counts.changed.text()
            ));
        }
        let as_what = match template {
            Template::Alpaca => "text",
            Template::Chat { .. } | Template::Raw => "tokens",
        };
        notes.extend(counts.prompts.list("prompt").map(|found| {
            format!(
                "{rows} special tokens or marks of a ready-made prompt in {found}: a template is \
                 put around them, and special tokens in them are {as_what}; if the prompts are \
                 ready-made, set model.template = \"raw\" where the model is first trained, else \
                 remove the marks"
            )
        }));
        notes.extend(counts.answers.list("answer").map(|found| {
            format!(
                "{rows} special tokens or marks of another turn in {found} are learnt as text; \
                 remove them if they are left over from a template"
            )
        }));
        notes.extend(counts.texts.list("text").map(|found| {
            format!(
                "{rows} special tokens or marks of a ready-made conversation in {found} are learnt \
                 as text, and so is every turn; to learn the answers only, {} rows of \
                 \"messages\"",
                match counts.texts.names.keys().any(|name| is_of_transcript(name)) {
                    true => "set data.format = \"transcript\" or write",
                    false => "write",
                }
            )
        }));
        notes.extend(counts.ends.list("answer").map(|found| {
            format!(
                "{rows} the special token at the end of {found} is cut off: each answer gets its \
                 end token in any case"
            )
        }));
        notes
    }
}
