//! Records as they are learnt: their text in pieces, learnt or context.

use crate::item::Item;
use crate::safe_text::safe;
use crate::tokens::{Tokens, n_learnt};
use data::{Ask, Example, Piece, Result, TrainOn};
use serde::Serialize;
use std::collections::HashSet;

/// Characters of an example that are shown. Of a longer one the middle is left out.
const MAX_SHOWN: usize = 1200;

/// A record in a report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExampleView {
    /// `file: row 3`
    pub place: String,
    /// The sequence that is learnt; of a pair both
    pub sequences: Vec<Sequence>,
    /// The answer of the data that a prompt is scored against, if there is one
    pub reference: Option<String>,
}

/// A sequence of a record.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sequence {
    /// `chosen`, `rejected`, or empty
    pub name: String,
    /// All its tokens, and those that are learnt. None: no model was given
    pub tokens: Option<usize>,
    pub labels: Option<usize>,
    pub pieces: Vec<Piece>,
}

/// The record as text, for want of a model.
pub(crate) fn as_text(item: &Item, train_on: TrainOn) -> ExampleView {
    let learns_all =
        train_on == TrainOn::All && item.answers.iter().any(|(name, _)| name.is_empty());
    let before = context(&item.prompt.ask, learns_all);
    let answers = match item.answers.is_empty() {
        true => vec![("", None)],
        false => item
            .answers
            .iter()
            .map(|(name, text)| (*name, Some(text)))
            .collect(),
    };
    let sequences = answers.into_iter().map(|(name, answer)| {
        let mut pieces = before.clone();
        if let Some(answer) = answer {
            if !matches!(item.prompt.ask, Ask::Raw(_)) {
                pieces.push(piece("\nassistant: ", false));
            }
            pieces.push(piece(item.learnt(answer).text().trim_end(), true));
        }
        Sequence {
            name: name.to_string(),
            tokens: None,
            labels: None,
            pieces: cut(pieces),
        }
    });
    ExampleView {
        place: item.prompt.origin.to_string(),
        sequences: sequences.collect(),
        reference: reference(item),
    }
}

/// The record as the model reads it.
pub(crate) fn as_tokens(item: &Item, tokens: &Tokens) -> Result<ExampleView> {
    let examples = tokens.examples(item, &tokens.shown)?;
    let is_pair = item.answers.len() == 2;
    let sequence = |(i, example): (usize, &Example)| {
        let name = match is_pair {
            true => item.answers[i.min(1)].0,
            false => "",
        };
        Ok(Sequence {
            name: name.to_string(),
            tokens: Some(example.ids.len()),
            labels: Some(n_learnt(example)),
            pieces: cut(tokens.shown.pieces(example)?),
        })
    };
    let sequences = examples.iter().enumerate().map(sequence);
    Ok(ExampleView {
        place: item.prompt.origin.to_string(),
        sequences: sequences.collect::<Result<_>>()?,
        reference: reference(item),
    })
}

/// The reference answer of a prompt.
fn reference(item: &Item) -> Option<String> {
    let is_prompt = item.answers.is_empty() && item.prompt.has_reference();
    let text = item.prompt.reference.as_deref().filter(|_| is_prompt)?;
    let pieces = cut(vec![piece(text, false)]);
    pieces.into_iter().map(|piece| piece.text).next()
}

fn piece(text: &str, is_learnt: bool) -> Piece {
    Piece {
        text: text.to_string(),
        is_learnt,
    }
}

/// The question. `learns_all`: the answers in it are learnt, too.
fn context(ask: &Ask, learns_all: bool) -> Vec<Piece> {
    let Ask::Chat(messages) = ask else {
        let text = ask.text();
        return match ask {
            Ask::Raw(_) if text.is_empty() => Vec::new(),
            Ask::Raw(_) => vec![piece(&text, false)],
            _ => vec![piece(&format!("user: {text}"), false)],
        };
    };
    let learnt: HashSet<usize> = match learns_all {
        true => ask.learnt_answers().collect(),
        false => HashSet::new(),
    };
    let mut pieces = Vec::new();
    for (i, message) in messages.iter().enumerate() {
        let blank = if i > 0 { "\n" } else { "" };
        pieces.push(piece(&format!("{blank}{}: ", message.role), false));
        pieces.push(piece(&message.text(), learnt.contains(&i)));
    }
    pieces
}

/// The pieces without control characters; of a long text without its middle.
fn cut(pieces: Vec<Piece>) -> Vec<Piece> {
    let pieces: Vec<Piece> = pieces
        .into_iter()
        .map(|piece| Piece {
            text: safe(&piece.text),
            ..piece
        })
        .collect();
    let n_chars: usize = pieces.iter().map(|p| p.text.chars().count()).sum();
    if n_chars <= MAX_SHOWN {
        return joined(pieces);
    }
    let n_cut = n_chars - MAX_SHOWN;
    let (begin, end) = (MAX_SHOWN / 2, MAX_SHOWN / 2 + n_cut);
    let mut shown = Vec::new();
    let mut at = 0;
    for Piece { text, is_learnt } in &pieces {
        let n = text.chars().count();
        let (from, to) = (at, at + n);
        let part = |start: usize, stop: usize| -> String {
            let (start, stop) = (start.clamp(from, to), stop.clamp(from, to));
            text.chars().skip(start - from).take(stop - start).collect()
        };
        shown.push(piece(&part(0, begin), *is_learnt));
        if from < end && end <= to {
            let note = format!("\n[… {n_cut} characters left out …]\n");
            shown.push(piece(&note, false));
        }
        shown.push(piece(&part(end, n_chars), *is_learnt));
        at = to;
    }
    joined(shown)
}

/// Neighbours of the same kind as one piece, and none that is empty.
fn joined(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut joined: Vec<Piece> = Vec::new();
    for next in pieces.into_iter().filter(|piece| !piece.text.is_empty()) {
        match joined
            .last_mut()
            .filter(|last| last.is_learnt == next.is_learnt)
        {
            Some(last) => last.text.push_str(&next.text),
            None => joined.push(next),
        }
    }
    joined
}
