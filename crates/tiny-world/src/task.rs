//! A question of the language: its family, the text it is asked with, and what a right answer to it is.

use crate::language::{
    KINDS, Kind, capital, is_noun, is_quality, kind_named, nouns, qualities, with_article, words,
};
use rand::Rng as _;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng as Rng;

/// A family of questions: several wordings around a body, and the rule that solves the body.
pub struct Family {
    pub name: &'static str,
    /// FastChat's category of its questions.
    pub topic: &'static str,
    /// Text before and after the body.
    pub forms: &'static [(&'static str, &'static str)],
    pub(crate) draw: fn(&mut Rng) -> String,
    pub(crate) solve: fn(&str) -> Option<Solution>,
}

pub(crate) struct Solution {
    pub right: String,
    pub judge: Judge,
}

/// What a sentence must hold to be a right answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Judge {
    /// These items in this order; of a single item, the last one of its sort in the sentence counts.
    Items { sort: Sort, want: Vec<String> },
    /// `n` different members of a kind and nothing else.
    Members { kind: &'static str, n: usize },
    /// A sentence of exactly `n` words that says something about a thing.
    Sentence { about: String, n: usize },
    /// The request, word for word, with a please.
    Polite { request: Vec<String> },
    /// Yes or no, and the thing's true kind as the reason.
    Because { yes: bool, thing: String },
}

/// Which words of a sentence are items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    Noun,
    Number,
    Quality,
    KindName,
}

impl Sort {
    pub fn holds(self, word: &str) -> bool {
        match self {
            Self::Noun => is_noun(word),
            Self::Number => word.bytes().all(|b| b.is_ascii_digit()),
            Self::Quality => is_quality(word),
            Self::KindName => kind_named(word).is_some(),
        }
    }

    fn other(self, than: &str, rng: &mut Rng) -> String {
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

/// How a question is put: Alpaca's two fields.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    pub instruction: String,
    pub input: String,
}

/// A question, understood.
pub struct Task {
    pub family: &'static Family,
    /// A full answer of ten points.
    pub right: String,
    pub judge: Judge,
}

impl Family {
    /// A question of this family; `with_input` puts the body into the input field where the wording allows it.
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

    fn body<'a>(&self, instruction: &'a str, input: &'a str) -> impl Iterator<Item = &'a str> {
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

impl Task {
    /// Understands a question; `None` when it is not of this language.
    pub fn parse(instruction: &str, input: &str) -> Option<Self> {
        let (instruction, input) = (instruction.trim(), input.trim());
        crate::tasks::FAMILIES.iter().copied().find_map(|family| {
            let Solution { right, judge } =
                family.body(instruction, input).find_map(family.solve)?;
            Some(Self {
                family,
                right,
                judge,
            })
        })
    }

    /// The content of a careless answer ("it is hat"): of the right shape, and false.
    pub(crate) fn mistake(&self, rng: &mut Rng) -> String {
        match &self.judge {
            Judge::Items { sort, want } => {
                let mut items = want.clone();
                let at = rng.random_range(0..items.len());
                if items.len() > 1 && rng.random_bool(0.5) {
                    items.shuffle(rng);
                }
                if items == *want {
                    items[at] = sort.other(&want[at], rng);
                }
                format!("it is {}", items.join(" "))
            }
            Judge::Members { kind, n } => {
                let others: Vec<&Kind> = KINDS.iter().filter(|k| k.name != *kind).collect();
                let items: Vec<&str> = (0..*n)
                    .map(|_| *others.choose(rng).unwrap().members.choose(rng).unwrap())
                    .collect();
                items.join(" ")
            }
            Judge::Sentence { about, n } => {
                let n = if rng.random_bool(0.5) && *n > 4 {
                    rng.random_range(4..*n)
                } else {
                    n + rng.random_range(2..4)
                };
                sentence(about, n, rng).to_lowercase()
            }
            Judge::Polite { request } => format!("{} now", request.join(" ")),
            Judge::Because { yes, thing } => {
                let false_kind =
                    Sort::KindName.other(crate::language::kind_of(thing).unwrap().name, rng);
                let verdict = if *yes { "no" } else { "yes" };
                format!(
                    "{verdict}, because {} is {}",
                    with_article(thing),
                    with_article(&false_kind)
                )
            }
        }
    }

    /// The words an answer may take without being called long: those of the right answer and four more.
    pub fn word_budget(&self) -> usize {
        words(&self.right).len() + 4
    }
}

/// A true-to-form sentence of `n` >= 4 words about a thing, without its full stop.
pub(crate) fn sentence(about: &str, n: usize, rng: &mut Rng) -> String {
    let mut qualities: Vec<&str> = qualities().collect();
    qualities.shuffle(rng);
    let mut words = vec!["The", about, "is"];
    let mut left = n - 3;
    let mut next = qualities.into_iter();
    let mut quality = || next.next().unwrap_or("big");
    // "big" is 1 word, "very big" 2; each further quality costs an "and" besides.
    loop {
        match left {
            1 => words.push(quality()),
            2 => words.extend(["very", quality()]),
            3 => words.extend([quality(), "and", quality()]),
            _ => {
                words.extend(["very", quality(), "and"]);
                left -= 3;
                continue;
            }
        }
        break;
    }
    words.join(" ")
}

/// "Bring me the hat" as "Please bring me the hat."
pub(crate) fn politely(request: &[String]) -> String {
    format!("Please {}.", request.join(" "))
}

pub(crate) fn items(sort: Sort, lead: &str, want: Vec<String>) -> Solution {
    Solution {
        right: capital(&format!("{lead} {}.", want.join(" "))),
        judge: Judge::Items { sort, want },
    }
}
