//! Questions with many right answers: list members of a kind, write a sentence of a given length,
//! make a request polite.

use crate::family::{Family, Judge, Solution};
use crate::language::{
    KINDS, VERBS, capital, is_noun, is_quality, kind_with_plural, nouns, politely, qualities,
    sentence, words,
};
use rand::seq::{IndexedRandom, IteratorRandom};
use rand::{Rng as _, SeedableRng as _};

/// List members of a kind.
pub static LIST: Family = Family {
    name: "list",
    topic: "writing",
    forms: &[("List ", "."), ("Name ", "."), ("Give me a list of ", ".")],
    draw: |rng| {
        format!(
            "{} {}",
            rng.random_range(2..=5),
            KINDS.choose(rng).unwrap().plural
        )
    },
    solve: |body| {
        let (n, plural) = body.split_once(' ')?;
        let (n, kind) = (
            n.parse().ok().filter(|n| (1..=10).contains(n))?,
            kind_with_plural(plural)?,
        );
        let right = format!("Here are {n} {plural}: {}.", kind.members[..n].join(" "));
        Some(Solution {
            right,
            judge: Judge::Members { kind: kind.name, n },
        })
    },
};

/// Write a sentence of a given length.
pub static SENTENCE: Family = Family {
    name: "sentence",
    topic: "writing",
    forms: &[("Write a sentence of ", "."), ("Use exactly ", ".")],
    draw: |rng| {
        format!(
            "{} words about the {}",
            rng.random_range(4..=8),
            nouns().choose(rng).unwrap()
        )
    },
    solve: |body| {
        let (n, about) = body.split_once(" words about the ")?;
        let n: usize = n.parse().ok().filter(|n| (4..=12).contains(n))?;
        if !is_noun(about) {
            return None;
        }
        let right = format!(
            "{}.",
            sentence(
                about,
                n,
                &mut rand_chacha::ChaCha8Rng::seed_from_u64(n as u64)
            )
        );
        Some(Solution {
            right,
            judge: Judge::Sentence {
                about: about.to_string(),
                n,
            },
        })
    },
};

/// Make a request polite.
pub static POLITE: Family = Family {
    name: "polite",
    topic: "writing",
    forms: &[
        ("Say this politely: ", ""),
        ("Make this polite: ", ""),
        ("Write this in a polite way: ", ""),
    ],
    draw: |rng| {
        let (verb, noun) = (VERBS.choose(rng).unwrap(), nouns().choose(rng).unwrap());
        let thing = match rng.random_bool(0.5) {
            true => format!("{} {noun}", qualities().choose(rng).unwrap()),
            false => noun.to_string(),
        };
        capital(&format!("{verb} me the {thing}."))
    },
    solve: |body| {
        let request = words(body.strip_suffix('.')?);
        let [verb, me, the, thing @ ..] = &request[..] else {
            return None;
        };
        let known = match thing {
            [noun] => is_noun(noun),
            [quality, noun] => is_quality(quality) && is_noun(noun),
            _ => false,
        };
        let known = known && me == "me" && the == "the" && VERBS.contains(&verb.as_str());
        known.then(|| Solution {
            right: politely(&request),
            judge: Judge::Polite { request },
        })
    },
};
