//! Questions about things and qualities: opposites, kinds, and yes or no with a reason.

use crate::family::{Family, Judge, Solution, Sort, items};
use crate::language::{
    KINDS, is_noun, kind_named, kind_of, nouns, opposite, qualities, with_article,
};
use rand::Rng as _;
use rand::seq::{IndexedRandom, IteratorRandom};

/// The opposite of a quality.
pub static OPPOSITE: Family = Family {
    name: "opposite",
    topic: "knowledge",
    forms: &[
        ("What is the opposite of ", "?"),
        ("Give the opposite of ", "."),
        ("Which word is the opposite of ", "?"),
    ],
    draw: |rng| qualities().choose(rng).unwrap().to_string(),
    solve: |body| {
        Some(items(
            Sort::Quality,
            &format!("the opposite of {body} is"),
            vec![opposite(body)?.to_string()],
        ))
    },
};

/// The kind of a thing.
pub static KIND: Family = Family {
    name: "kind",
    topic: "knowledge",
    forms: &[
        ("What kind of thing is ", "?"),
        ("Name the kind of ", "."),
        ("Tell me what sort of thing this is: ", "."),
    ],
    draw: |rng| with_article(nouns().choose(rng).unwrap()),
    solve: |body| {
        let thing = bare(body)?;
        let kind = kind_of(thing)?.name;
        let right = format!("The kind of {} is {kind}.", with_article(thing));
        Some(Solution {
            right,
            judge: Judge::Items {
                sort: Sort::KindName,
                want: vec![kind.to_string()],
            },
        })
    },
};

/// Whether a thing is of a kind, with the reason.
pub static YES_NO: Family = Family {
    name: "yes-no",
    topic: "knowledge",
    forms: &[
        ("Is ", "? Give a reason."),
        ("Tell me why or why not: is ", "?"),
    ],
    draw: |rng| {
        let thing = nouns().choose(rng).unwrap();
        let kind = match rng.random_bool(0.5) {
            true => kind_of(thing).unwrap(),
            false => KINDS.choose(rng).unwrap(),
        };
        format!("{} {}", with_article(thing), with_article(kind.name))
    },
    solve: |body| {
        let parts: Vec<&str> = body.split(' ').collect();
        let [_, thing, _, asked] = parts[..] else {
            return None;
        };
        let asked = kind_named(asked)?;
        if !is_noun(thing)
            || body != format!("{} {}", with_article(thing), with_article(asked.name))
        {
            return None;
        }
        let kind = kind_of(thing)?;
        let yes = kind.name == asked.name;
        let verdict = if yes { "Yes" } else { "No" };
        let right = format!(
            "{verdict}, because {} is {}.",
            with_article(thing),
            with_article(kind.name)
        );
        Some(Solution {
            right,
            judge: Judge::Because {
                yes,
                thing: thing.to_string(),
            },
        })
    },
};

/// "a cow" to "cow".
fn bare(text: &str) -> Option<&str> {
    let (_, thing) = text.split_once(' ')?;
    (with_article(thing) == text && is_noun(thing)).then_some(thing)
}
