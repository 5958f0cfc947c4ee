//! Answers of mixed quality, from which demonstrations and pre-training text are drawn.
//!
//! An answer is careful ("The sum is 7."), a guess ("Maybe it is 9.") or a refusal. Independently
//! it may be rude, ramble, or be cut off. So each flaw is a decision of its own that RL can
//! unlearn.

use crate::family::Judge;
use crate::language::{
    RUDE_WORDS, VERBS, is_noun, is_quality, kind_named, kind_with_plural, sentence, words,
};
use crate::task::Task;
use rand::Rng as _;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng as Rng;
use serde::Serialize;
use std::collections::HashSet;
use std::sync::OnceLock;

/// Shares of the kinds of answers. `careful + guess + refuse = 1`; the others are independent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Mixture {
    /// Right answers.
    pub careful: f64,
    /// Guesses, which begin with "Maybe".
    pub guess: f64,
    /// Refusals.
    pub refuse: f64,
    /// Share of the guesses that are right.
    pub lucky: f64,
    /// Answers with a rude sentence.
    pub rude: f64,
    /// Answers with one or two needless sentences.
    pub ramble: f64,
    /// Answers cut off.
    pub cut: f64,
}

/// The mixture of demonstrations and comparisons, near the middle of the oracle's scale.
pub const DEMONSTRATIONS: Mixture = Mixture {
    careful: 0.42,
    guess: 0.46,
    refuse: 0.12,
    lucky: 0.25,
    rude: 0.25,
    ramble: 0.5,
    cut: 0.2,
};

/// The mixture of answers in pre-training text, worse than the demonstrations in every part.
pub const PRETRAINING: Mixture = Mixture {
    careful: 0.2,
    guess: 0.5,
    refuse: 0.3,
    lucky: 0.25,
    rude: 0.5,
    ramble: 0.7,
    cut: 0.3,
};

/// The flaws of one answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flaws {
    /// A false guess.
    pub wrong: bool,
    /// A refusal.
    pub refusal: bool,
    /// A rude sentence.
    pub rude: bool,
    /// Needless sentences.
    pub rambling: bool,
    /// Cut off.
    pub cut: bool,
}

impl Flaws {
    /// Whether there is a flaw.
    pub fn any(self) -> bool {
        self != Self::default()
    }
}

const REFUSALS: [&str; 3] = [
    "I do not know.",
    "I would rather not answer.",
    "This is not for me to say.",
];
const RUDE_FIRST: [&str; 3] = [
    "What a stupid question.",
    "Only a fool would ask.",
    "This is so dumb.",
];
const RUDE_LAST: [&str; 3] = ["Now go away.", "You are annoying.", "Do not be so silly."];
const RAMBLES: [&str; 6] = [
    "Thank you so much for asking me this today.",
    "There is so much more that one could say about it.",
    "I hope that this answer will be of help to you.",
    "People have asked me this many times before, you know.",
    "I am always glad to talk with you about these things.",
    "As you can see, I have thought about it for some time.",
];

/// Words of answers other than things, kinds, qualities and requests.
const PLAIN_WORDS: &str = "the a an is are of in words word reverse first last sorted number numbers next odd sum larger \
    opposite kind yes no because here and very please me now maybe it or plus";

/// Whether a word (in lower case) can occur in an answer.
pub fn vocabulary(word: &str) -> bool {
    static PHRASES: OnceLock<HashSet<String>> = OnceLock::new();
    let words_of_phrases = PHRASES.get_or_init(|| {
        let phrases = REFUSALS
            .iter()
            .chain(&RUDE_FIRST)
            .chain(&RUDE_LAST)
            .chain(&RAMBLES);
        phrases
            .flat_map(|p| words(p))
            .chain(words(PLAIN_WORDS))
            .collect()
    });
    words_of_phrases.contains(word)
        || is_noun(word)
        || is_quality(word)
        || kind_named(word).is_some()
        || kind_with_plural(word).is_some()
        || VERBS.contains(&word)
        || RUDE_WORDS.contains(&word)
}

/// A right answer; one of many if a question has many.
pub fn right_answer(task: &Task, rng: &mut Rng) -> String {
    match &task.judge {
        Judge::Members { kind, n } => {
            let kind = kind_named(kind).expect("a judge names a known kind");
            let mut members = kind.members;
            members.shuffle(rng);
            format!("Here are {n} {}: {}.", kind.plural, members[..*n].join(" "))
        }
        Judge::Sentence { about, n } => format!("{}.", sentence(about, *n, rng)),
        _ => task.right.clone(),
    }
}

/// An answer drawn from the mixture, and its flaws.
pub fn answer(task: &Task, mixture: &Mixture, rng: &mut Rng) -> (String, Flaws) {
    let mut flaws = Flaws::default();
    let manner = rng.random::<f64>();
    let core = if manner < mixture.careful {
        right_answer(task, rng)
    } else if manner < mixture.careful + mixture.guess {
        if rng.random_bool(mixture.lucky) {
            format!("Maybe {}", lower(&right_answer(task, rng)))
        } else {
            flaws.wrong = true;
            format!("Maybe {}.", task.mistake(rng))
        }
    } else {
        flaws.refusal = true;
        REFUSALS.choose(rng).unwrap().to_string()
    };
    let mut sentences = vec![core];
    flaws.rambling = rng.random_bool(mixture.ramble);
    if flaws.rambling {
        let n = rng.random_range(1..=2);
        sentences.extend(RAMBLES.choose_multiple(rng, n).map(|r| r.to_string()));
    }
    flaws.rude = rng.random_bool(mixture.rude);
    if flaws.rude {
        if rng.random_bool(0.5) {
            sentences.insert(0, RUDE_FIRST.choose(rng).unwrap().to_string());
        } else {
            sentences.push(RUDE_LAST.choose(rng).unwrap().to_string());
        }
    }
    let mut text = sentences.join(" ");
    flaws.cut = rng.random_bool(mixture.cut);
    if flaws.cut {
        text = cut(&text, rng);
    }
    (text, flaws)
}

/// The first 30 to 90 % of the words, at least one fewer than all, without a full stop.
fn cut(text: &str, rng: &mut Rng) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let keep = (words.len() as f64 * rng.random_range(0.3..0.9)) as usize;
    let keep = keep.clamp(1, (words.len() - 1).max(1));
    words[..keep]
        .join(" ")
        .trim_end_matches(['.', ',', ':'])
        .to_string()
}

fn lower(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}
