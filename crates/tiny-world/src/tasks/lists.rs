//! Questions about a list of things: repeat, reverse, pick, count, sort, continue.

use crate::family::{Family, Sort, items};
use crate::language::{KINDS, kind_of, nouns};
use rand::Rng as _;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng as Rng;
use std::ops::RangeInclusive;

/// Repeat a list.
pub static REPEAT: Family = Family {
    name: "repeat",
    topic: "extraction",
    forms: &[
        ("Repeat these words: ", "."),
        ("Say these words again: ", "."),
        ("Copy this list: ", "."),
    ],
    draw: |rng| list(2..=4, rng),
    solve: |body| Some(items(Sort::Noun, "the words are", things(body, 2)?)),
};

/// Reverse a list.
pub static REVERSE: Family = Family {
    name: "reverse",
    topic: "extraction",
    forms: &[
        ("Reverse these words: ", "."),
        ("Say these words backwards: ", "."),
        ("Turn this list around: ", "."),
    ],
    draw: |rng| list(2..=3, rng),
    solve: |body| {
        let mut things = things(body, 2)?;
        things.reverse();
        Some(items(Sort::Noun, "in reverse the words are", things))
    },
};

/// The first of a list.
pub static FIRST: Family = Family {
    name: "first",
    topic: "extraction",
    forms: &[
        ("What is the first word here: ", "?"),
        ("Name the first word of this list: ", "."),
        ("Which word comes first: ", "?"),
    ],
    draw: |rng| list(3..=5, rng),
    solve: |body| {
        Some(items(
            Sort::Noun,
            "the first word is",
            vec![things(body, 2)?.swap_remove(0)],
        ))
    },
};

/// The last of a list.
pub static LAST: Family = Family {
    name: "last",
    topic: "extraction",
    forms: &[
        ("What is the last word here: ", "?"),
        ("Name the last word of this list: ", "."),
        ("Which word comes last: ", "?"),
    ],
    draw: |rng| list(3..=5, rng),
    solve: |body| {
        Some(items(
            Sort::Noun,
            "the last word is",
            vec![things(body, 2)?.pop()?],
        ))
    },
};

/// Sort words.
pub static SORT_WORDS: Family = Family {
    name: "sort-words",
    topic: "reasoning",
    forms: &[
        ("Sort these words by letter: ", "."),
        ("Put these words in the order of the alphabet: ", "."),
    ],
    draw: |rng| list(2..=3, rng),
    solve: |body| {
        let mut things = things(body, 2)?;
        things.sort();
        Some(items(Sort::Noun, "the sorted words are", things))
    },
};

/// Count words.
pub static COUNT: Family = Family {
    name: "count",
    topic: "math",
    forms: &[
        ("How many words are here: ", "?"),
        ("Count these words: ", "."),
        ("How long is this list: ", "?"),
    ],
    draw: |rng| list(2..=6, rng),
    solve: |body| {
        Some(items(
            Sort::Number,
            "the number of words is",
            vec![things(body, 2)?.len().to_string()],
        ))
    },
};

/// Continue a pattern.
pub static PATTERN: Family = Family {
    name: "pattern",
    topic: "reasoning",
    forms: &[
        ("What comes next: ", "?"),
        ("Continue this pattern with one word: ", "."),
    ],
    draw: |rng| {
        let period = rng.random_range(2..=3);
        let unit = distinct(period, rng);
        let len = rng.random_range(period + 2..=2 * period + 2);
        unit.iter()
            .cycle()
            .take(len)
            .copied()
            .collect::<Vec<_>>()
            .join(" ")
    },
    solve: |body| {
        let seen = things(body, 4)?;
        let period = (2..=3)
            .find(|&p| seen.len() >= p + 2 && (p..seen.len()).all(|i| seen[i] == seen[i - p]))?;
        let next = seen[seen.len() - period].clone();
        Some(items(Sort::Noun, "the next word is", vec![next]))
    },
};

/// The word of another kind.
pub static ODD_ONE: Family = Family {
    name: "odd-one",
    topic: "reasoning",
    forms: &[
        ("Which word does not belong: ", "?"),
        ("Find the odd word: ", "."),
    ],
    draw: |rng| {
        let kinds: Vec<_> = KINDS.choose_multiple(rng, 2).collect();
        let mut words: Vec<&str> = kinds[0].members.choose_multiple(rng, 3).copied().collect();
        words.push(kinds[1].members.choose(rng).unwrap());
        words.shuffle(rng);
        words.join(" ")
    },
    solve: |body| {
        let things = things(body, 3)?;
        let same = |word: &str| {
            things
                .iter()
                .filter(|t| kind_of(t).unwrap().name == kind_of(word).unwrap().name)
                .count()
        };
        let mut alone = things.iter().filter(|t| same(t) == 1);
        let odd = alone.next()?.clone();
        let only = alone.next().is_none();
        only.then(|| items(Sort::Noun, "the odd word is", vec![odd]))
    },
};

/// The things of a body, when it is a list of at least `min` of them.
fn things(body: &str, min: usize) -> Option<Vec<String>> {
    let things: Vec<String> = body.split(' ').map(str::to_string).collect();
    (things.len() >= min && things.iter().all(|t| kind_of(t).is_some())).then_some(things)
}

fn distinct(n: usize, rng: &mut Rng) -> Vec<&'static str> {
    let all: Vec<&str> = nouns().collect();
    all.choose_multiple(rng, n).copied().collect()
}

fn list(n: RangeInclusive<usize>, rng: &mut Rng) -> String {
    let n = rng.random_range(n);
    distinct(n, rng).join(" ")
}
