//! A question that has been parsed: its family, its right answer and how to judge other answers.

use crate::family::{Family, Judge, Solution, Sort};
use crate::language::{KINDS, Kind, sentence, with_article, words};
use rand::Rng as _;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng as Rng;

/// A parsed question.
pub struct Task {
    /// The family whose wording it has.
    pub family: &'static Family,
    /// An answer of ten points.
    pub right: String,
    /// What makes other answers right.
    pub judge: Judge,
}

impl Task {
    /// Parses a question. `None` if it is not of this language.
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

    /// A careless answer ("it is hat"): of the right form, and false.
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

    /// Words that an answer may have at full marks for brevity: those of the right answer and four
    /// more.
    pub fn word_budget(&self) -> usize {
        words(&self.right).len() + 4
    }
}
