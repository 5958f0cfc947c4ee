//! A family of questions: the wordings, the rule that solves them, and what makes an answer right.

use crate::language::{KINDS, capital, is_noun, is_quality, kind_named, nouns, qualities};
use rand::Rng as _;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng as Rng;

/// A question in Alpaca's two fields.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// What to do.
    pub instruction: String,
    /// What to do it with; may be empty.
    pub input: String,
}

/// A family of questions: several wordings around a body, and the rule that solves the body.
pub struct Family {
    /// The name in tables: `sort-words`.
    pub name: &'static str,
    /// FastChat's category.
    pub topic: &'static str,
    /// Text before and after the body.
    pub forms: &'static [(&'static str, &'static str)],
    /// Draws a body.
    pub(crate) draw: fn(&mut Rng) -> String,
    /// The right answer to a body, or `None` for a body that is not of this family.
    pub(crate) solve: fn(&str) -> Option<Solution>,
}

/// A right answer and how to judge others.
pub(crate) struct Solution {
    pub right: String,
    pub judge: Judge,
}

/// What a sentence must contain to be a right answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Judge {
    /// These items in this order. For a single item, the last word of its sort in the sentence
    /// counts.
    Items { sort: Sort, want: Vec<String> },
    /// `n` different members of a kind and nothing else.
    Members { kind: &'static str, n: usize },
    /// A sentence of exactly `n` words that says something about a thing.
    Sentence { about: String, n: usize },
    /// The request, word for word, with "please".
    Polite { request: Vec<String> },
    /// Yes or no, and the thing's kind as the reason.
    Because { yes: bool, thing: String },
}

/// Which words of a sentence are items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// A thing: "cow".
    Noun,
    /// Digits.
    Number,
    /// A quality: "hot".
    Quality,
    /// The name of a kind: "animal".
    KindName,
}

impl Sort {
    /// Whether a word (in lower case) is of this sort.
    pub fn holds(self, word: &str) -> bool {
        match self {
            Self::Noun => is_noun(word),
            Self::Number => word.bytes().all(|b| b.is_ascii_digit()),
            Self::Quality => is_quality(word),
            Self::KindName => kind_named(word).is_some(),
        }
    }

    /// A random word of this sort other than `than`.
    pub(crate) fn other(self, than: &str, rng: &mut Rng) -> String {
        loop {
            let word = match self {
                Self::Noun => pick(nouns(), rng).to_string(),
                Self::Quality => pick(qualities(), rng).to_string(),
                Self::KindName => KINDS.choose(rng).unwrap().name.to_string(),
                Self::Number => {
                    let n: i64 = than.parse().unwrap_or(5);
                    if n < 10 {
                        rng.random_range(1..10)
                    } else {
                        (n + rng.random_range(-5..6)).max(1)
                    }
                    .to_string()
                }
            };
            if word != than {
                return word;
            }
        }
    }
}

fn pick<'a>(words: impl Iterator<Item = &'a str>, rng: &mut Rng) -> &'a str {
    words.collect::<Vec<_>>().choose(rng).copied().unwrap()
}

impl Family {
    /// A question of this family. `with_input` puts the body into the input field if the wording
    /// allows it.
    pub fn ask(&self, with_input: bool, rng: &mut Rng) -> Question {
        let &(before, after) = self.forms.choose(rng).unwrap();
        let body = (self.draw)(rng);
        match before.strip_suffix(": ") {
            Some(order) if with_input => {
                let end = if after.is_empty() { "." } else { after };
                Question {
                    instruction: format!("{order}{end}"),
                    input: body,
                }
            }
            _ => Question {
                instruction: format!("{before}{body}{after}"),
                input: String::new(),
            },
        }
    }

    /// The bodies that the wordings leave of a question.
    pub(crate) fn body<'a>(
        &self,
        instruction: &'a str,
        input: &'a str,
    ) -> impl Iterator<Item = &'a str> {
        self.forms.iter().filter_map(move |(before, after)| {
            if input.is_empty() {
                instruction.strip_prefix(before)?.strip_suffix(after)
            } else {
                let end = if after.is_empty() { "." } else { *after };
                (before.strip_suffix(": ")? == instruction.strip_suffix(end)?).then_some(input)
            }
        })
    }
}

/// A solution of items after a lead: "The words are" and "cow hat".
pub(crate) fn items(sort: Sort, lead: &str, want: Vec<String>) -> Solution {
    Solution {
        right: capital(&format!("{lead} {}.", want.join(" "))),
        judge: Judge::Items { sort, want },
    }
}
